"""A long process on the server: every item once, whoever pauses, fails or goes away."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.batches.row_imports import Rows
from tests.workers.patterns.saga.effects import known, running
from workers.client.attributes import STAGE, WAITING_FOR
from workers.contracts import Decision, Outcome, Progress, Resume, Status, Verdict
from workers.patterns.batches.messages import LongRunningInput, LongRunningResult
from workers.patterns.batches.workflow import LongRunningWorkflow
from workers.registry.registry import Queue, registry

pytestmark = pytest.mark.django_db(transaction=True)  # names resolve by a table too


class Imports:
    """Starts imports of rows on a queue of their own."""

    def __init__(self, client: Client, queue: str, worker: Any, monkeypatch: Any) -> None:
        self.client, self.queue, self._worker = client, queue, worker
        self.rows = Rows()
        self._activities = known(monkeypatch, queue, *self.rows.activities())

    def running(self) -> Any:
        return running(self._worker, self.queue, LongRunningWorkflow, self._activities)

    async def start(self, **more: Any) -> WorkflowHandle[Any, LongRunningResult]:
        start = LongRunningInput(activity="import_rows", key="rows", **more)
        return await self.client.start_workflow(
            LongRunningWorkflow.run, start, id=f"rows-{uuid.uuid4().hex}", task_queue=self.queue
        )


@pytest.fixture
def imports(client: Client, queue: str, worker: Any, monkeypatch: Any) -> Imports:
    return Imports(client, queue, worker, monkeypatch)


async def progress(handle: WorkflowHandle[Any, Any]) -> Progress:
    found: Progress = await handle.query("get_progress", result_type=Progress)
    return found


async def decide(
    handle: WorkflowHandle[Any, Any], verb: str, actor: str = "ann", *, last: bool = False
) -> Verdict:
    """Send a decision twice; once when it may be the `last` that the process hears."""
    body = Decision(decision_id=uuid.uuid4().hex, actor=actor)
    for _ in range(1 if last else 2):
        await handle.signal(verb, body)
    found: Verdict = await handle.query("get_decision", body.decision_id, result_type=Verdict)
    return found


async def test_300_rows_with_two_that_are_wrong(client: Client, imports: Imports) -> None:
    imports.rows.poison = {17, 170}
    async with imports.running():
        handle = await imports.start(total=300, notify="tell_rows")
        result = await handle.result()
        status = await progress(handle)
        described = await handle.describe()
        stage = (await handle.query("get_status", result_type=Status)).stage
    assert (result.outcome, result.done, result.failed) == ("completed", 298, 2)
    assert [(item.index, item.error) for item in result.failed_items] == [
        (17, "ValueError: row 17 is wrong"),
        (170, "ValueError: row 170 is wrong"),
    ]
    assert set(imports.rows.begun.values()) == {1}
    assert len(imports.rows.done) == 298
    assert status.failed_items[0] == "17: ValueError: row 17 is wrong"
    assert status.started_at is not None
    told = [(notice.event, notice.done + notice.failed) for notice in imports.rows.notices]
    assert told == [("quarter", 100), ("quarter", 150), ("quarter", 250), ("completed", 300)]
    assert [len(notice.failures) for notice in imports.rows.notices] == [1, 0, 1, 0]
    assert (await described.memo_value("checkpoint"), stage) == (300, "completed")
    assert described.typed_search_attributes.get(STAGE) == "completed"
    await replays(client, handle, "long-running", [LongRunningWorkflow])


async def test_pause_and_unpause_each_once(imports: Imports) -> None:
    imports.rows.stops[4] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(total=30)
        await eventually(lambda: imports.rows.begun["rows/4"])
        assert (await decide(handle, "unpause")).outcome == Outcome.REFUSED
        assert (await decide(handle, "pause")).outcome == Outcome.APPLIED
        again = await decide(handle, "pause", "bob")
        assert (again.outcome, again.by) == (Outcome.ALREADY_DECIDED, "ann")
        await handle.signal("pause")
        await handle.signal("pause", "now")
        imports.rows.stops[4].set()

        async def rests() -> bool:
            status = await progress(handle)
            return status.paused and status.done == 10

        await eventually(rests)
        assert "by ann" in (await handle.query("get_status", result_type=Status)).summary
        assert (await handle.describe()).typed_search_attributes.get(STAGE) == "paused"
        assert (await decide(handle, "unpause", "bob", last=True)).outcome == Outcome.APPLIED
        assert (await handle.result()).done == 30
    await replays(imports.client, handle, "long-running-paused", [LongRunningWorkflow])


async def test_cancel_ends_after_the_batch_even_while_paused(imports: Imports) -> None:
    imports.rows.stops[24] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(total=100, notify="tell_rows")
        await eventually(lambda: imports.rows.begun["rows/24"])
        await decide(handle, "pause")
        assert (await decide(handle, "cancel")).outcome == Outcome.APPLIED
        assert (await decide(handle, "cancel", "bob")).by == "ann"
        assert (await decide(handle, "unpause")).outcome == Outcome.ALREADY_DECIDED
        imports.rows.stops[24].set()
        result = await handle.result()
    assert (result.outcome, result.done) == ("cancelled", 30)
    assert [notice.event for notice in imports.rows.notices] == ["cancelled"]


async def test_too_many_failures_stop_it_at_a_checkpoint(imports: Imports) -> None:
    imports.rows.poison = set(range(0, 50, 4))
    async with imports.running():
        handle = await imports.start(total=1_000, failure_limit=0.2, notify="tell_rows")
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message[:46]) == (
        "TooManyFailures",
        "13 of 50 items failed, more than the limit of ",
    )
    assert "row 48 is wrong" in cause.message
    assert len(imports.rows.begun) == 50
    assert [notice.event for notice in imports.rows.notices] == ["failed"]


async def test_another_worker_goes_on_within_the_batch(imports: Imports) -> None:
    imports.rows.stops[6] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(total=20)
        await eventually(lambda: imports.rows.begun["rows/6"])
    del imports.rows.stops[6]
    async with imports.running():
        assert (await handle.result()).done == 20
    assert {key for key, times in imports.rows.begun.items() if times > 1} == {"rows/6"}
    assert set(imports.rows.done.values()) == {1}


@pytest.mark.parametrize("attempts", [10, 1], ids=["short", "longer than all tries"])
async def test_an_outage_is_no_failure_of_the_items(imports: Imports, attempts: int) -> None:
    imports.rows.away = True
    async with imports.running():
        handle = await imports.start(total=20, batch_attempts=attempts, retry_seconds=0.2)
        await eventually(lambda: imports.rows.begun["rows/0"])
        imports.rows.away = False
        result = await handle.result()
    assert (result.done, result.failed) == (20, 0)
    assert (imports.rows.begun["rows/0"] > 1, imports.rows.begun["rows/1"]) == (True, 1)


async def test_a_batch_that_an_outage_stops_keeps_what_is_done(imports: Imports) -> None:
    imports.rows.stops[4] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(total=20, retry_seconds=0.2)
        await eventually(lambda: imports.rows.begun["rows/4"])
        imports.rows.away = True
        imports.rows.stops[4].set()

        async def five() -> bool:
            return (await progress(handle)).done == 5

        await eventually(five)
        assert imports.rows.begun["rows/5"]
        imports.rows.away = False
        assert (await handle.result()).done == 20
    assert {key for key, times in imports.rows.begun.items() if times > 1} == {"rows/5"}
    await replays(imports.client, handle, "long-running-outage", [LongRunningWorkflow])


async def test_of_a_batch_that_never_ends_only_the_items_that_are_left_fail(imports: Imports) -> None:
    imports.rows.stops[6] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(
            total=20, batch_seconds=0.6, heartbeat_seconds=0.15, batch_attempts=1, failure_limit=1
        )
        result = await handle.result()
    assert [item.index for item in result.failed_items] == [6, 7, 8, 9]
    assert (result.done, imports.rows.done["rows/0"], imports.rows.begun["rows/6"]) == (16, 1, 2)


async def test_a_native_cancellation_ends_it_at_once_and_says_so(imports: Imports) -> None:
    imports.rows.stops[4] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(total=20)
        await eventually(lambda: imports.rows.begun["rows/4"])
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert (await handle.query("get_status", result_type=Status)).status == "cancelled"
        assert (await handle.describe()).typed_search_attributes.get(STAGE) == "cancelled"


async def test_a_decision_about_another_run_under_this_id_is_refused(imports: Imports) -> None:
    imports.rows.stops[4] = asyncio.Event()
    async with imports.running():
        handle = await imports.start(total=20)
        await handle.signal("cancel", Decision(decision_id="d1", actor="ann", chain="another"))
        await handle.signal("pause", Decision(decision_id="d2", chain=handle.first_execution_run_id))
        asked = [
            (await handle.query("get_decision", each, result_type=Verdict)).outcome for each in ("d1", "d2")
        ]
        assert asked == [Outcome.REFUSED, Outcome.APPLIED]
        await handle.terminate()


@pytest.mark.parametrize("how", ["resume", "cancel", "pause"])
async def test_a_breaker_holds_it_until_it_is_resumed_cancelled_or_paused(imports: Imports, how: str) -> None:
    imports.rows.refused = True
    async with imports.running():
        handle = await imports.start(total=20, retry_seconds=600)

        async def held() -> bool:
            return (await handle.describe()).typed_search_attributes.get(WAITING_FOR) == [
                "breaker",
                "breaker:shelf",
            ]

        await eventually(held)
        status = await handle.query("get_status", result_type=Status)
        assert (status.waiting_for, "shelf works again" in status.summary) == (
            ["breaker", "breaker:shelf"],
            True,
        )
        imports.rows.refused = False
        if how == "resume":
            await handle.signal("resume", Resume(dependency="shelf"))
        else:
            await decide(handle, how, last=True)
        if how == "pause":

            async def paused() -> bool:
                return (await handle.describe()).typed_search_attributes.get(STAGE) == "paused"

            await eventually(paused)
            assert (await handle.describe()).typed_search_attributes.get(WAITING_FOR) is None
            await decide(handle, "unpause", last=True)
        result = await handle.result()
        described = await handle.describe()
        await replays(imports.client, handle, f"long-running-held-{how}", [LongRunningWorkflow])
    assert (result.done, result.failed) == ((0, 0) if how == "cancel" else (20, 0))
    assert described.typed_search_attributes.get(WAITING_FOR) is None


async def test_pages_notices_at_checkpoints_and_continue_as_new(imports: Imports) -> None:
    imports.rows.length, imports.rows.poison = 230, {60}
    async with imports.running():
        handle = await imports.start(
            total=1_000,
            first=30,
            pages="read_rows",
            reference="rows.csv",
            notify="tell_rows",
            notify_at="checkpoints",
            most_events=60,
        )
        result = await handle.result()
    last = imports.client.get_workflow_handle(handle.id)
    assert (await last.describe()).run_id != handle.first_execution_run_id, "it went through several runs"
    await replays(imports.client, last, "long-running-next", [LongRunningWorkflow])
    assert (result.total, result.done, result.failed) == (200, 199, 1)
    assert min(imports.rows.begun, key=lambda key: int(key[5:])) == "rows/30"
    assert set(imports.rows.begun.values()) == {1}
    assert {page.reference for page in imports.rows.pages} == {"rows.csv"}
    told = [(notice.event, notice.done + notice.failed) for notice in imports.rows.notices]
    assert told == [*[("checkpoint", at - 30) for at in (50, 100, 150, 200)], ("completed", 200)]
    assert [len(notice.failures) for notice in imports.rows.notices] == [0, 1, 0, 0, 0]


async def test_nobody_listening_and_an_empty_list_stop_nothing(imports: Imports) -> None:
    imports.rows.deaf = True
    async with imports.running():
        few = await imports.start(items=[3, "x", 5], notify="tell_rows")
        none = await imports.start(total=0)
        result = await few.result()
        assert (result.done, result.failed_items[0].index) == (2, 1)
        assert result.failed_items[0].error.startswith("Unreadable")
        assert (await none.result()).outcome == "completed"


@pytest.mark.slow
async def test_after_a_kill_only_what_no_heartbeat_told_runs_again(
    server: str, imports: Imports, worker: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    shed = f"{imports.queue}-shed"  # the activities' own, so that the workflow's worker lives
    monkeypatch.setitem(registry.queues, shed, Queue(shed, activities=[imports.rows.activities()[0]]))
    monkeypatch.delitem(registry.queues, imports.queue)
    told = tmp_path / "rows"
    told.touch()
    program = (sys.executable, "-m", "tests.workers.process.hanging_worker", shed, str(told))
    doomed = await asyncio.create_subprocess_exec(*program, stdin=asyncio.subprocess.DEVNULL)
    try:
        async with imports.running():
            handle = await imports.start(total=20, heartbeat_seconds=1)
            await eventually(lambda: "begun rows/8\n" in told.read_text())
            doomed.kill()
            await doomed.wait()
            async with worker(shed, activities=[imports.rows.activities()[0]]):
                assert (await handle.result()).done == 20
    finally:
        if doomed.returncode is None:
            doomed.kill()
    before = {line.split()[1] for line in told.read_text().splitlines() if line.startswith("done")}
    again = {key for key in before if imports.rows.begun[key]}
    assert before | set(imports.rows.done) == {f"rows/{n}" for n in range(20)}
    assert "rows/0" in before - again
    assert again == {f"rows/{n}" for n in range(8 - len(again), 8)}, "only the last ones, in a row"


@pytest.mark.slow
async def test_10_000_rows_with_default_limits(imports: Imports) -> None:
    imports.rows.poison = {9_999}
    async with imports.running():
        handle = await imports.start(total=10_000, pages="read_rows", notify="tell_rows")
        result = await handle.result()
        last = await imports.client.get_workflow_handle(handle.id).describe()
    assert (result.done, result.failed) == (9_999, 1)
    assert last.run_id != handle.first_execution_run_id, "one history would be too long"
    assert last.history_length < 5_000
    assert set(imports.rows.begun.values()) == {1}
    assert len(imports.rows.done) == 9_999
