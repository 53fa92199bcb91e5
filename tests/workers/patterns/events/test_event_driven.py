"""The event-driven workflow on the server: what ends it, what restarts its time, what follows an event."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.effects import Ledger, known, running
from workers.client.attributes import STAGE, WAITING_FOR
from workers.contracts import Decision, Outcome, Status, Verdict
from workers.patterns.events.event_driven_workflow import EventDrivenWorkflow
from workers.patterns.events.messages import Carried, EventDrivenInput, EventDrivenResult

pytestmark = pytest.mark.django_db(transaction=True)  # names resolve by a table too

QUIET = 600.0  # seconds: no test waits for that


class Runs:
    """Starts event-driven workflows on a queue of their own; events of type `paid` are posted."""

    def __init__(self, client: Client, queue: str, worker: Any, activities: list[Any]) -> None:
        self.client, self.queue = client, queue
        self._worker, self._activities = worker, activities

    def running(self) -> Any:
        return running(self._worker, self.queue, EventDrivenWorkflow, self._activities)

    async def start(
        self, *, first: dict[str, Any] | None = None, **more: Any
    ) -> WorkflowHandle[Any, EventDrivenResult]:
        given = {"effects": {"paid": "post"}, "inactivity_seconds": QUIET, **more}
        signal: dict[str, Any] = {"start_signal": "workflow_event", "start_signal_args": [first]}
        return await self.client.start_workflow(
            EventDrivenWorkflow.run,
            EventDrivenInput(**given),
            id=f"events-{uuid.uuid4().hex}",
            task_queue=self.queue,
            **(signal if first else {}),
        )


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def runs(client: Client, queue: str, worker: Any, ledger: Ledger, monkeypatch: Any) -> Runs:
    return Runs(client, queue, worker, known(monkeypatch, queue, ledger.activity))


def event(event_id: str, kind: str, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat()
    return {"event_id": event_id, "at": at, "type": kind, "payload": {"sum": 3}, **more}


async def verdict(handle: WorkflowHandle[Any, Any], known_id: str) -> Verdict:
    found: Verdict = await handle.query("get_decision", known_id, result_type=Verdict)
    return found


async def test_it_follows_up_and_ends_by_an_event(client: Client, runs: Runs, ledger: Ledger) -> None:
    async with runs.running():
        handle = await runs.start()
        for body in (event("e1", "paid"), event("e1", "paid"), event("e2", "seen"), event("e3", "paid")):
            await handle.signal("workflow_event", body)
        await eventually(lambda: len(ledger.done) == 2)
        await handle.signal("workflow_event", event("e4", "completed"))
        result = await handle.result()
        status = await handle.query("get_status", result_type=Status)
        with pytest.raises(RPCError, match="already completed"):
            await handle.signal("workflow_event", event("e5", "paid"))
    assert result == EventDrivenResult(
        reason="completed by event", events=4, last_type="completed", followed=2
    )
    assert status.status == "completed by event"
    assert [effect.payload["payload"] for effect in ledger.done.values()] == [{"sum": 3}] * 2
    assert set(ledger.calls.values()) == {1}
    assert (await handle.describe()).typed_search_attributes.get(STAGE) == "completed"
    await replays(client, handle, "event-driven", [EventDrivenWorkflow])


async def test_no_body_and_wrong_bodies_change_nothing(runs: Runs) -> None:
    async with runs.running():
        handle = await runs.start()
        deadline = (await handle.query("get_state"))["deadline"]
        await handle.signal("workflow_event")
        await handle.signal("workflow_event", args=["text", 3])
        await handle.signal("workflow_event", {"event_id": "e1"})
        await handle.signal("cancel", "now")
        state = await handle.query("get_state")
        assert (state["version"], state["refusals"], state["deadline"]) == (0, 3, deadline)
        assert "type" in (await verdict(handle, "e1")).detail
        await handle.terminate()


async def test_each_event_restarts_the_time(runs: Runs) -> None:
    async with runs.running():
        handle = await runs.start()
        before = (await handle.query("get_state"))["deadline"]
        await handle.signal("workflow_event", event("e1", "seen"))
        after = (await handle.query("get_state"))["deadline"]
        await handle.signal("workflow_event", event("e1", "seen"))
        assert after > before
        assert (await handle.query("get_state"))["deadline"] == after, "a repeat is no sign of life"
        assert "unless an event comes" in (await handle.query("get_status", result_type=Status)).summary
        await handle.terminate()


async def test_it_ends_when_no_event_comes(runs: Runs) -> None:
    async with runs.running():
        handle = await runs.start(inactivity_seconds=0.3)
        result = await handle.result()
        assert (result.reason, result.events) == ("inactivity", 0)
        assert (await handle.query("get_status", result_type=Status)).status == "inactivity"
    await replays(runs.client, handle, "event-driven-inactivity", [EventDrivenWorkflow])


@pytest.mark.parametrize(("seconds", "reason"), [(-1, "cancelled"), (1, "inactivity")])
async def test_an_event_counts_by_its_own_time_when_workers_wake_late(
    runs: Runs, seconds: int, reason: str
) -> None:
    deadline = datetime.now(UTC) - timedelta(minutes=1)
    carried = Carried(deadline=deadline)
    body = event("e1", "seen", at=(deadline + timedelta(seconds=seconds)).isoformat())
    async with runs.running():
        handle = await runs.start(carried=carried, first=body)
        if reason == "cancelled":  # it lives on, until somebody ends it
            assert (await handle.query("get_state"))["version"] == 1
            await handle.signal("cancel", Decision(decision_id="d1", actor="ann"))
        result = await handle.result()
        told = await verdict(handle, "e1")
    assert (result.reason, result.events) == (reason, int(seconds < 0))
    assert told.outcome == (Outcome.APPLIED if seconds < 0 else Outcome.REFUSED)


async def test_cancel_finishes_what_came_and_takes_nothing_more(runs: Runs, ledger: Ledger) -> None:
    ledger.down = True
    async with runs.running():
        handle = await runs.start(effect_attempts=100)
        await handle.signal("workflow_event", event("e1", "paid"))
        for decision_id in ("d1", "d1", "d2"):
            await handle.signal("cancel", Decision(decision_id=decision_id, actor="ann"))
        await handle.signal("workflow_event", event("e2", "paid"))
        outcomes = [(await verdict(handle, each)).outcome for each in ("d1", "d2", "e2")]
        assert outcomes == [Outcome.APPLIED, Outcome.ALREADY_DECIDED, Outcome.REFUSED]
        ledger.down = False
        result = await handle.result()
    assert (result.reason, result.followed) == ("cancelled", 1)


async def test_a_native_cancellation_says_so(runs: Runs) -> None:
    async with runs.running():
        handle = await runs.start()
        await handle.query("get_state")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert (await handle.query("get_status", result_type=Status)).status == "cancelled"


async def test_an_effect_that_never_works_keeps_it_open_until_an_operator_decides(
    runs: Runs, ledger: Ledger
) -> None:
    ledger.failing = {"paid"}
    async with runs.running():
        handle = await runs.start(inactivity_seconds=1)
        await handle.signal("workflow_event", event("e1", "paid"))

        async def closing() -> bool:
            known = (await handle.describe()).typed_search_attributes
            return (known.get(STAGE), known.get(WAITING_FOR)) == ("closing", ["operator"])

        await eventually(closing)
        assert (await handle.query("get_status", result_type=Status)).status == "closing"
        skip = Decision(decision_id="d1", actor="ann", choice="skip", evidence="The customer was called.")
        await handle.signal("resolve", skip)
        result = await handle.result()
    assert (result.reason, result.followed, result.failed) == (
        "inactivity",
        0,
        ["e1: Declined: Not with us."],
    )


async def test_a_native_cancellation_follows_up_what_came(runs: Runs, ledger: Ledger) -> None:
    ledger.answers.clear()
    async with runs.running():
        handle = await runs.start()
        await handle.signal("workflow_event", event("e1", "paid"))
        await handle.signal("workflow_event", event("e2", "paid"))
        await eventually(lambda: ledger.running)
        await handle.cancel()
        ledger.answers.set()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert (len(ledger.done), ledger.most_running) == (2, 1)
    assert (await handle.describe()).typed_search_attributes.get(STAGE) == "cancelled"


async def test_effects_with_one_ordering_key_are_in_order_and_others_go_on(
    runs: Runs, ledger: Ledger
) -> None:
    ledger.failing = {"paid"}
    async with runs.running():
        handle = await runs.start(effects={"paid": "post", "sent": "post"})
        await handle.signal("workflow_event", event("e1", "paid", ordering_key="a"))
        await handle.signal("workflow_event", event("e2", "sent", ordering_key="a"))
        await handle.signal("workflow_event", event("e3", "sent", ordering_key="b"))
        await handle.signal("workflow_event", event("e4", "sent"))
        await eventually(lambda: len(ledger.done) == 2)
        assert {key.rpartition("/")[2] for key in ledger.done} == {"e3", "e4"}
        await handle.terminate()


async def test_a_failed_action_is_told_and_many_events_take_several_runs(
    runs: Runs,
    ledger: Ledger,
) -> None:
    ledger.failing = {"paid"}
    async with runs.running():
        handle = await runs.start(
            best_effort=["paid"], most_events=40, effects={"paid": "post", "sent": "post"}
        )
        for number in range(20):
            await handle.signal("workflow_event", event(f"e{number}", "paid" if number == 3 else "sent"))
        await handle.signal("workflow_event", event("end", "completed"))
        result = await handle.result()
    last = runs.client.get_workflow_handle(handle.id)
    assert (await last.describe()).run_id != handle.first_execution_run_id
    await replays(runs.client, last, "event-driven-next", [EventDrivenWorkflow])
    assert (result.events, result.followed, len(ledger.done)) == (21, 19, 19)
    assert result.failed == ["e3: Declined: Not with us."]
