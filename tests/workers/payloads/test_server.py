"""Payloads on a server: a missing key costs nothing, secrets stay at home, and histories tell nothing."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.test import override_settings
from pydantic import SecretStr
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.worker import Worker

import tests.golden
from tests.examples.accounts import LIMITS, Account, open_account
from tests.examples.accounts_workflow import OpenAccountWorkflow
from tests.golden import golden, replayer, replays
from tests.support import eventually
from tests.workers.payloads.misplaced_type import MisplacedWorkflow
from tests.workers.payloads.secret_workflows import (
    AnsweringWorkflow,
    KeepingWorkflow,
    MovingWorkflow,
    SendingWorkflow,
    TakingWorkflow,
    Transfer,
    calls,
    move,
    produce,
    take,
    undo,
)
from workers.client.attributes import WAITING_FOR
from workers.client.connection import connect
from workers.conf import conf
from workers.interceptors import undelivered
from workers.patterns.alerts.activities import raise_alert
from workers.payloads.errors import PayloadTooLarge, SensitiveField
from workers.process.plugins import worker_plugins
from workers.process.sandbox import workflow_runner

OLD, NEW = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
BOTH = f"new:{NEW},old:{OLD}"
WORKFLOWS = [KeepingWorkflow, MovingWorkflow, SendingWorkflow, TakingWorkflow, AnsweringWorkflow]
ACTIVITIES: list[Any] = [move, undo, produce, take]
HIDDEN = "hunter2-correct-horse"
HISTORIES = Path(__file__).parents[2] / "histories" / "payloads"


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def name() -> str:
    return f"payloads-{uuid.uuid4().hex}"


async def client_with(server: str, keys: str = "", **changes: Any) -> Client:
    """A client of a process with settings of its own."""
    changes["payload_keys"] = SecretStr(keys) if keys else None
    return await connect(conf().model_copy(update=changes), for_worker=True)


@asynccontextmanager
async def worker_of(
    client: Client,
    queue: str,
    django_db_blocker: Any,
    *,
    only_activities: bool = False,
    cached: int = 100,
    more: Any = (),
) -> AsyncIterator[None]:
    with django_db_blocker.unblock(), ThreadPoolExecutor(4) as executor:
        async with Worker(
            client,
            task_queue=queue,
            workflows=[] if only_activities else WORKFLOWS,
            activities=[*ACTIVITIES, *more],
            activity_executor=executor,
            plugins=worker_plugins(),
            max_cached_workflows=cached,  # 0: another worker takes over without waiting for this one's
        ):
            yield


async def test_a_worker_without_the_key_costs_no_attempt_and_undoes_nothing(
    server: str,
    queue: str,
    name: str,
    django_db_blocker: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, without = await client_with(server, BOTH), await client_with(server, f"old:{OLD}")
    transfer, desk = Transfer(id=name, amount=Decimal("1.20"), note=HIDDEN), f"{queue}-desk"
    async with worker_of(whole, queue, django_db_blocker):
        handle = await whole.start_workflow(
            MovingWorkflow.run, args=[transfer, desk], id=name, task_queue=queue
        )

        async def failed() -> bool:
            history = await handle.fetch_history()
            return any(event.HasField("activity_task_failed_event_attributes") for event in history.events)

        async with worker_of(without, desk, django_db_blocker, only_activities=True):
            await eventually(failed)
        async with worker_of(whole, desk, django_db_blocker, only_activities=True):
            assert await handle.result() == transfer
    assert calls == [name]
    assert "PAYLOAD_KEYS has no key 'new'" in caplog.text
    history = (await handle.fetch_history()).to_json()
    assert HIDDEN not in history
    assert base64.b64encode(HIDDEN.encode())[:20].decode() not in history
    monkeypatch.setattr(tests.golden, "FOLDER", HISTORIES)  # not with those that replay without keys
    await replays(whole, handle, "key-missing", WORKFLOWS)


async def test_a_workflow_that_waits_for_a_key_can_be_cancelled(
    server: str, queue: str, name: str, django_db_blocker: Any
) -> None:
    whole, without = await client_with(server, BOTH), await client_with(server, f"old:{OLD}")
    transfer, desk = Transfer(id=name, amount=Decimal(1)), f"{queue}-desk"
    async with (
        worker_of(whole, queue, django_db_blocker),
        worker_of(without, desk, django_db_blocker, only_activities=True),
    ):
        handle = await whole.start_workflow(
            MovingWorkflow.run, args=[transfer, desk], id=name, task_queue=queue
        )

        async def paused() -> bool:
            history = await handle.fetch_history()
            return any(event.HasField("timer_started_event_attributes") for event in history.events)

        await eventually(paused)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert not calls


async def test_a_key_that_never_comes_calls_an_operator_and_then_fails_the_activity(
    server: str,
    queue: str,
    name: str,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(undelivered, "ALERT_AFTER", timedelta(seconds=0.5))
    monkeypatch.setattr(undelivered, "GIVE_UP_AFTER", timedelta(seconds=8))
    whole, without = await client_with(server, BOTH), await client_with(server, f"old:{OLD}")
    desk = f"{queue}-desk"
    async with (
        worker_of(whole, queue, django_db_blocker, more=[raise_alert]),
        worker_of(without, desk, django_db_blocker, only_activities=True),
    ):
        handle = await whole.start_workflow(
            KeepingWorkflow.run, args=[Transfer(id=name, amount=Decimal(1)), desk], id=name, task_queue=queue
        )

        async def waits_for(*values: str) -> bool:
            found = (await handle.describe()).typed_search_attributes.get(WAITING_FOR)
            return (*(found or []),) == values

        await eventually(lambda: waits_for("approval"))
        await eventually(lambda: waits_for("approval", "operator"))
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = cause_of(caught.value)
    assert cause.type == "KeyMissing"
    assert await waits_for("approval"), "the workflow's own wait outlives the platform's"
    assert not calls
    assert [line for line in caplog.messages if "ALERT No worker can take the activity move" in line]


async def test_an_encrypted_history_of_an_earlier_build_replays(server: str) -> None:
    client = await client_with(server, BOTH)
    await replayer(client, WORKFLOWS).replay_workflow(golden(HISTORIES / "key-missing.json"))


async def test_a_workflow_worker_without_the_key_leaves_the_run_open(
    server: str, queue: str, name: str, django_db_blocker: Any
) -> None:
    whole, without = await client_with(server, BOTH), await client_with(server, f"old:{OLD}")
    old = await client_with(
        server, f"old:{OLD},new:{NEW}"
    )  # writes with the old key, so the start is readable
    desk = f"{queue}-desk"
    transfer = Transfer(id=name, amount=Decimal("1.20"))
    handle = await old.start_workflow(
        MovingWorkflow.run,
        args=[transfer, desk],
        id=name,
        task_queue=queue,
        task_timeout=timedelta(seconds=1),
    )
    async with (
        worker_of(without, queue, django_db_blocker, cached=0),
        worker_of(whole, desk, django_db_blocker, only_activities=True),
    ):

        async def stuck() -> bool:
            return (await handle.describe()).raw_description.pending_workflow_task.attempt > 1

        await eventually(stuck)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    async with worker_of(whole, queue, django_db_blocker):
        assert await handle.result() == transfer
    assert calls == [name]


async def test_failures_are_encrypted_and_answers_are_plain_json(
    server: str, queue: str, name: str, django_db_blocker: Any
) -> None:
    client = await client_with(server, BOTH)
    async with worker_of(client, queue, django_db_blocker):
        handle = await client.start_workflow(AnsweringWorkflow.run, HIDDEN, id=name, task_queue=queue)
        answer = await handle.query("get_state", result_type=RawValue)
        assert dict(answer.payload.metadata) == {"encoding": b"json/plain"}
        assert json.loads(answer.payload.data) == {"at": "2026-01-02T03:04:05Z", "amount": "1.20", "set": [1]}
        assert (await handle.query(AnsweringWorkflow.get_transfer)).amount == Decimal("1.20")
        await handle.signal(AnsweringWorkflow.go)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.details) == (f"Refused: {HIDDEN}", ({"told": HIDDEN},))
    history = await handle.fetch_history()
    failure = history.events[-1].workflow_execution_failed_event_attributes.failure
    assert (failure.message, failure.stack_trace) == ("Encoded failure", "")
    assert HIDDEN.encode() not in b"".join(event.SerializeToString() for event in history.events)


def cause_of(error: BaseException | None) -> ApplicationError:
    while isinstance(error, (WorkflowFailureError, ActivityError, ChildWorkflowError)):
        error = error.cause
    assert isinstance(error, ApplicationError)
    return error


WAYS_OUT = ["input", "local", "output", "child", "signal", "next", "memo", "result"]


@pytest.mark.parametrize("how", WAYS_OUT)
async def test_a_secret_ends_the_workflow_that_would_send_it(
    client: Client, queue: str, name: str, worker: Any, how: str
) -> None:
    async with worker(queue, workflows=WORKFLOWS, activities=ACTIVITIES):
        handle = await client.start_workflow(
            SendingWorkflow.run, args=[how, "password", 3], id=name, task_queue=queue
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = cause_of(caught.value)
    assert (cause.type, cause.non_retryable) == ("SensitiveField", True)
    assert ("customer.password" if how not in ("output", "memo") else "password") in cause.message
    assert not calls


@pytest.mark.parametrize("how", WAYS_OUT)
async def test_too_large_a_payload_ends_the_workflow_that_would_send_it(
    server: str, queue: str, name: str, django_db_blocker: Any, how: str
) -> None:
    client = await client_with(server, payload_limit_bytes=1000)
    async with worker_of(client, queue, django_db_blocker):
        handle = await client.start_workflow(
            SendingWorkflow.run, args=[how, "note", 2000], id=name, task_queue=queue
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = cause_of(caught.value)
    assert (cause.type, cause.non_retryable) == ("PayloadTooLarge", True)
    assert "PAYLOAD_LIMIT_BYTES is 1,000" in cause.message
    assert {"input": "activity take", "child": "child workflow Sending", "next": "the next run"}.get(
        how, ""
    ) in cause.message


async def test_nothing_is_started_with_a_secret_or_three_megabytes(
    client: Client, queue: str, name: str
) -> None:
    start: Any = {"id": name, "task_queue": queue}
    with pytest.raises(SensitiveField, match=r"customer\.apiKey"):
        await client.start_workflow("Any", {"customer": {"apiKey": "x"}}, **start)
    with pytest.raises(SensitiveField):
        await client.start_workflow("Any", memo={"note": {"ssn": "x"}}, **start)
    with pytest.raises(PayloadTooLarge, match=r"3,000,0.. bytes.*a dict"):
        await client.start_workflow("Any", {"note": "x" * 3_000_000}, **start)
    handle = await client.start_workflow("Any", {"password": None, "apiKeys": 1}, **start)
    with pytest.raises(SensitiveField):
        await handle.signal("hello", {"credit-card": {"number": 1}})
    await handle.terminate()


async def test_secrets_in_the_details_of_a_failure_are_hidden_and_the_failure_told(
    client: Client, queue: str, name: str, worker: Any
) -> None:
    async with worker(queue, workflows=WORKFLOWS):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(
                SendingWorkflow.run, args=["failure", "password", 3], id=name, task_queue=queue
            )
    cause = cause_of(caught.value)
    assert (cause.type, cause.message) == ("Broken", "It did not work.")
    assert cause.details == ({"customer": {"password": "[redacted]"}},)


@pytest.mark.parametrize(
    ("secrets", "letters"), [("mask", 10), ("reference", len(HIDDEN)), ("allow", len(HIDDEN))]
)
async def test_secrets_are_masked_referred_to_or_let_pass(
    server: str, queue: str, name: str, django_db_blocker: Any, tmp_path: Path, secrets: str, letters: int
) -> None:
    store = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    chosen = conf().model_copy(update={"payload_secrets": secrets, "payload_keys": SecretStr(BOTH)})
    with override_settings(STORAGES={**storages.backends, "payloads": store}, WORKERS=chosen):
        client = await connect(chosen, for_worker=True)
        async with worker_of(client, queue, django_db_blocker):
            result = await client.execute_workflow(
                TakingWorkflow.run, {"customer": {"password": HIDDEN, "id": 1}}, id=name, task_queue=queue
            )
    assert result["letters"] == letters
    assert (HIDDEN in result["got"]) == (secrets == "allow")
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == (secrets == "reference")
    assert not any(HIDDEN.encode() in content for content in kept)


async def test_the_example_opens_an_account_whose_password_only_the_activity_sees(
    server: str, queue: str, name: str, worker: Any, tmp_path: Path
) -> None:
    store = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    chosen = conf().model_copy(update={"payload_secrets": "reference"})
    with override_settings(STORAGES={**storages.backends, "payloads": store}, WORKERS=chosen):
        client = await connect(chosen, for_worker=True)
        async with worker(queue, workflows=[OpenAccountWorkflow], activities=[open_account]):
            handle = await client.start_workflow(
                OpenAccountWorkflow.run,
                Account(name="ann", password=HIDDEN, limits=LIMITS),
                id=name,
                task_queue=queue,
            )
            assert await handle.result() == {"name": "ann", "strong": True, **LIMITS}
    history = await handle.fetch_history()
    assert HIDDEN.encode() not in b"".join(event.SerializeToString() for event in history.events)


async def test_large_payloads_travel_by_reference(
    server: str, queue: str, name: str, django_db_blocker: Any, tmp_path: Path
) -> None:
    store = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    with override_settings(STORAGES={**storages.backends, "payloads": store}):
        client = await client_with(server, BOTH, claim_check_bytes=100_000)
        async with worker_of(client, queue, django_db_blocker):
            result = await client.execute_workflow(
                SendingWorkflow.run, args=["output", "note", 300_000], id=name, task_queue=queue
            )
        size = (await client.get_workflow_handle(name).describe()).raw_description.workflow_execution_info
    assert result == {"note": "x" * 300_000}
    assert size.history_size_bytes < 10_000


async def test_a_payload_type_in_a_workflow_file_stops_the_worker_at_once(client: Client, queue: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        Worker(client, task_queue=queue, workflows=[MisplacedWorkflow], workflow_runner=workflow_runner())
    assert "Declare Misplaced in a module that its workflow file passes through." in str(
        caught.value.__cause__
    )
