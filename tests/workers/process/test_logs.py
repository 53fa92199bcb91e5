"""A worker's log: a line for an answer, a traceback for a fault, what it is about, and no secret."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

from tests.workers.process import logging_workflows as talkers
from workers.client.errors import TemporalUnavailable
from workers.client.tenancy import tenant_context
from workers.interceptors.tenancy import OtherTenant
from workers.patterns.breaker.names import circuit_open
from workers.process.logs import Context, CoreFields, FailedAttempts, Json, Plain


class CoreLog:
    message = "Activity not found on completion."
    fields = {"details": "x" * 1000, "task_token": "secret"}


def test_a_line_of_the_core_is_short() -> None:
    record = logging.LogRecord("temporalio-sdk_core", logging.WARNING, "", 1, "", None, None)
    record.temporal_log = CoreLog()
    assert CoreFields().filter(record)
    assert record.getMessage().startswith("Activity not found on completion. (details=xxx")
    assert len(record.getMessage()) < 310
    assert "task_token" not in record.getMessage()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        ('Status { code: Unknown, message: "transport error", source: None }', False),
        ('Status { code: Unavailable, message: "connection refused" }', False),
        ('Status { code: DeadlineExceeded, message: "Timeout expired" }', False),
        ('Status { code: PermissionDenied, message: "Request unauthorized." }', True),
    ],
)
def test_retries_of_the_core_are_left_out_while_the_server_is_away_alone(error: str, kept: bool) -> None:
    class Retried:
        message = "gRPC call poll_activity_task_queue retried 6 times"
        fields = {"error": error}

    for name in ("temporalio_client::retry", "temporalio_sdk_core::worker::heartbeat"):
        record = logging.LogRecord(f"temporalio-sdk_core::{name}", logging.WARNING, "", 1, "", None, None)
        record.temporal_log = Retried()
        assert CoreFields().filter(record) is kept


def failed(error: BaseException, attempt: int) -> logging.LogRecord:
    try:
        raise error
    except type(error) as caught:
        info = (type(caught), caught, caught.__traceback__)
    record = logging.LogRecord("temporalio.activity", logging.WARNING, "", 1, "failed", None, info)
    record.temporal_activity = {
        "activity_type": "charge_payment",
        "workflow_id": "order-1",
        "attempt": attempt,
    }
    return record


def raised(error: BaseException) -> logging.LogRecord:
    record = failed(error, 4)
    assert FailedAttempts().filter(record)
    assert Context().filter(record)
    return record


def told(error: BaseException) -> str:
    return logging.Formatter("%(message)s").format(raised(error))


def test_what_was_raised_on_purpose_is_one_line() -> None:
    line = "charge_payment of order-1, attempt 4: Declined: The card was declined."
    assert told(ApplicationError("The card was declined.", type="Declined")) == line


@pytest.mark.parametrize("error", [asyncio.CancelledError(), CancelledError("Cancelled")])
def test_a_cancelled_attempt_is_one_line(error: BaseException) -> None:
    assert told(error).casefold() == "charge_payment of order-1, attempt 4: cancelled"


def test_attempts_are_logged_less_and_less_often() -> None:
    for error in (ApplicationError("No answer."), TypeError("a fault")):
        logged = [attempt for attempt in range(1, 70) if FailedAttempts().filter(failed(error, attempt))]
        assert logged == [1, 2, 4, 8, 16, 32, 64]


def test_the_refusal_of_an_open_breaker_is_not_logged_at_all() -> None:
    assert (
        circuit_open("payments", never_sent=True).category is ApplicationErrorCategory.BENIGN
    )  # the SDK's word for it


@pytest.mark.parametrize(
    "error", [OtherTenant("This run names no tenant."), TemporalUnavailable("Temporal cannot be reached.")]
)
def test_a_known_refusal_is_a_sentence_and_no_traceback(error: Exception) -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 1, "Failed task of %s", ("Order",), None)
    record.exc_info = (type(error), error, None)
    assert Context().filter(record)
    assert Plain().format(record).endswith(f"WARNING x: Failed task of Order: {error}")


@pytest.mark.parametrize("error", [TypeError("a fault"), KeyError("x")])
def test_a_fault_keeps_its_traceback(error: Exception) -> None:
    assert "Traceback" in told(error)


class Card(BaseModel):
    limit: int


@pytest.mark.parametrize("formatter", [Plain(), Json()])
def test_no_line_shows_a_secret(formatter: logging.Formatter) -> None:
    sent = {"limit": "-".join(["41" + "11"] * 2)}  # a traceback quotes this line
    with pytest.raises(ValidationError) as caught:
        Card.model_validate(sent)
    for error in (caught.value, ValueError("password=hunter2")):
        line = formatter.format(raised(error))
        assert "Traceback" in line
        assert "hunter2" not in line
        assert "4111" not in line
    record = logging.LogRecord("x", logging.INFO, "", 1, "api_key: %s", ("k-123",), None)
    assert "k-123" not in formatter.format(record)


def test_a_line_of_no_run_is_about_nothing() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "hello %s", ("you",), None)
    assert Context().filter(record)
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO x: hello you", Plain().format(record))
    assert set(json.loads(Json().format(record))) == {"at", "level", "logger", "message"}


def test_text_from_outside_forges_no_line() -> None:
    forged = "x\n12:00:00 INFO audit: all is well\r\x1b[2K\u2028end\ttab"
    for record in (
        logging.LogRecord("x", logging.INFO, "", 1, "name %s", (forged,), None),
        raised(ValueError(forged)),
    ):
        lines = Plain().format(record).split("\n")
        assert all(line.startswith("  ") for line in lines[1:])
        assert not any(sign in "".join(lines) for sign in "\r\x1b\u2028")
    record = logging.LogRecord("x", logging.INFO, "", 1, "name %s", (forged,), None)
    assert Plain().format(record).endswith(r"x\n12:00:00 INFO audit: all is well\r\x1b[2K\u2028end" + "\ttab")
    assert "\n" not in Json().format(record)


def test_json_keeps_what_the_caller_adds_without_secrets() -> None:
    holds_itself = list[object]()
    holds_itself.append(holds_itself)
    record = logging.LogRecord("x", logging.INFO, "", 1, "hello", None, None)
    vars(record).update(
        order={"id": 7, "password": "hunter2"},
        api_key="k-123",
        level="shadow",
        card=Card(limit=3),
        other=object,
        loop=holds_itself,
        note="password=hunter2",
        temporal_activity={"attempt": 1},
    )
    line = json.loads(Json().format(record))
    assert line["order"] == {"id": 7, "password": "[redacted]"}
    assert (line["api_key"], line["level"], line["card"]) == ("[redacted]", "INFO", {"limit": 3})
    assert "hunter2" not in json.dumps(line)
    assert "temporal_activity" not in line


def test_what_the_sdk_attached_is_used_elsewhere() -> None:
    record = raised(TypeError("a fault"))
    line = Plain().format(record).partition(" ")[2]
    about = "[activity=charge_payment workflow=order-1 attempt=4]"
    assert line.startswith(f"WARNING temporalio.activity: failed {about}\n")


@pytest.fixture
def lines() -> Iterator[list[dict[str, str]]]:
    """What the talkers log, as a machine reads it."""
    found = list[dict[str, str]]()

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(self.format(record)))

    keeper = Keeper()
    keeper.addFilter(Context())
    keeper.setFormatter(Json())
    logging.getLogger().addHandler(keeper)
    yield found
    logging.getLogger().removeHandler(keeper)


async def test_every_line_of_activity_and_workflow_code_says_what_it_is_about(client, queue, worker, lines):
    name = f"talk-{uuid.uuid4().hex}"
    async with worker(
        queue, workflows=[talkers.TalkingWorkflow], activities=[talkers.talk_sync, talkers.talk_async]
    ):
        with tenant_context("acme", "staging"):
            handle = await client.start_workflow(talkers.TalkingWorkflow.run, id=name, task_queue=queue)
        await handle.result()
    said = {line["message"]: line for line in lines if line["message"].startswith("talk")}
    common = {
        "workflow": name,
        "run": handle.first_execution_run_id,
        "type": "Talking",
        "tenant": "acme",
        "environment": "staging",
        "queue": queue,
    }
    assert set(said) == {"talk: workflow", "talk: plain workflow", "talk: sync", "talk: async"}
    for message, line in said.items():
        assert common.items() <= line.items(), message
    assert {line["logger"] for line in said.values()} > {"tests.workers.process.logging_workflows"}
    for kind in ("sync", "async"):
        line = said[f"talk: {kind}"]
        assert (line["activity"], line["attempt"]) == (f"talk_{kind}", "1")
