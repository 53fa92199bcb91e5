"""The event-sourced entity on the server: each event once, each effect once, whatever is sent or fails."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.effects import Ledger, known, running
from workers.client.attributes import STAGE, WAITING_FOR
from workers.contracts import Decision, Outcome, Resume, Status, Verdict
from workers.patterns.events import entity, store
from workers.patterns.events.entity_workflow import EventSourcedWorkflow
from workers.patterns.events.messages import Effect, EntityInput

pytestmark = pytest.mark.django_db(transaction=True)  # names resolve by a table too

EFFECTS = {"place_order": "post", "process_payment": "post"}


class Accounts:
    """Starts accounts on a queue of their own."""

    def __init__(self, client: Client, queue: str, worker: Any, activities: list[Any]) -> None:
        self.client, self.queue = client, queue
        self._worker, self._activities = worker, activities

    def running(self) -> Any:
        return running(self._worker, self.queue, EventSourcedWorkflow, self._activities)

    async def open(self, **more: Any) -> WorkflowHandle[Any, dict[str, Any]]:
        start = EntityInput(effects=more.pop("effects", EFFECTS), **more)
        return await self.client.start_workflow(
            EventSourcedWorkflow.run, start, id=f"account-{uuid.uuid4().hex}", task_queue=self.queue
        )


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def accounts(client: Client, queue: str, worker: Any, ledger: Ledger, monkeypatch: Any) -> Accounts:
    return Accounts(client, queue, worker, known(monkeypatch, queue, ledger.activity))


def body(event_id: str, order_id: str = "o1", minor: int = 100) -> dict[str, Any]:
    amount = {"minor": minor, "currency": "EUR"}
    return {"event_id": event_id, "at": datetime.now(UTC).isoformat(), "order_id": order_id, "amount": amount}


async def verdict(handle: WorkflowHandle[Any, Any], known_id: str) -> Verdict:
    found: Verdict = await handle.query("get_decision", known_id, result_type=Verdict)
    return found


async def close(handle: WorkflowHandle[Any, Any], **decision: Any) -> Verdict:
    body = Decision(decision_id=uuid.uuid4().hex, actor="ann", **decision)
    await handle.signal("close_account", body)
    return await verdict(handle, body.decision_id)


async def test_an_account_from_its_first_order_to_its_end(
    client: Client, accounts: Accounts, ledger: Ledger
) -> None:
    async with accounts.running():
        handle = await accounts.open()
        await handle.signal("place_order", body("e1"))
        await handle.signal("place_order", body("e1"))
        await handle.signal("place_order", body("e2", "o2", 50))
        assert "2 orders are not paid" in (await close(handle)).detail
        await handle.signal("process_payment", body("e3", minor=60))
        await handle.signal("process_payment", body("e4", minor=40))
        await handle.signal("process_payment", body("e5", "o2", 50))
        state = await handle.query("get_state")
        assert (state["version"], state["state"]["paid_in_full"], state["state"]["paid"]) == (
            5,
            2,
            {"EUR": 150},
        )
        assert (await close(handle)).outcome == Outcome.APPLIED
        assert (await handle.result())["paid"] == {"EUR": 150}
        assert {key.rpartition("/")[2] for key in ledger.done} == {"e1", "e2", "e3", "e4", "e5"}
        assert set(ledger.calls.values()) == {1}, "an event sent twice has its effect once"
        with pytest.raises(RPCError, match="already completed"):
            await handle.signal("place_order", body("late"))
    assert (await handle.describe()).typed_search_attributes.get(STAGE) == "closed"
    await replays(client, handle, "entity", [EventSourcedWorkflow])


async def test_no_body_wrong_bodies_and_too_many_are_recorded_and_harm_nothing(accounts: Accounts) -> None:
    async with accounts.running():
        handle = await accounts.open()
        await handle.signal("place_order")
        await handle.signal("place_order", args=[body("e1"), "and more"])
        await handle.signal("process_payment", "money")
        await handle.signal("process_payment", [1, 2])
        await handle.signal("process_payment", body("e2", "unknown"))
        await handle.signal("close_account", "now")
        state = await handle.query("get_state")
        assert (state["version"], state["refusals"]) == (1, 4)
        assert (await verdict(handle, "e2")).outcome == Outcome.REFUSED
        status = await handle.query("get_status", result_type=Status)
        assert status.stage == "open"
        await handle.terminate()


async def test_events_and_effects_survive_continue_as_new(
    client: Client, accounts: Accounts, ledger: Ledger
) -> None:
    ledger.answers.clear()
    async with accounts.running():
        handle = await accounts.open(most_events=30)
        first = (await handle.describe()).run_id
        for number in range(12):
            await handle.signal("place_order", body(f"e{number}", f"o{number}"))
        await eventually(lambda: ledger.running)
        length = 0
        while length <= 40:
            await handle.signal("place_order", body("e0", "o0"))
            length = (await handle.describe()).history_length
        assert ((await handle.describe()).run_id, ledger.most_running) == (first, 1), (
            "it waits for the effect"
        )
        ledger.answers.set()

        async def done() -> bool:
            return len(ledger.done) == 12 and not (await handle.query("get_state"))["pending"]

        await eventually(done)
        state = await handle.query("get_state")
        last = client.get_workflow_handle(handle.id)
        assert (state["version"], (await last.describe()).run_id == first) == (12, False)
        assert list(ledger.done) == [f"{handle.id}/e{number}" for number in range(12)], "in their order"
        assert (set(ledger.calls.values()), ledger.most_running) == ({1}, 1), "none began beside another"
        await handle.signal("place_order", body("e3", "o3"))
        assert (await handle.query("get_state"))["version"] == 12, "repeats are known in the next run"
        await replays(client, last, "entity-next", [EventSourcedWorkflow])
        before = client.get_workflow_handle(handle.id, run_id=first)
        await replays(client, before, "entity-renewed", [EventSourcedWorkflow])
        await last.terminate()


async def test_a_history_without_room_ends_beside_a_running_effect_and_waits_for_its_last_try(
    client: Client, accounts: Accounts, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entity, "HARD_EVENTS", 40)
    ledger.answers.clear()
    async with accounts.running():
        handle = await accounts.open(most_events=30, effect_seconds=3)
        first = (await handle.describe()).run_id
        await handle.signal("place_order", body("e1"))
        await eventually(lambda: ledger.running)

        async def renewed() -> bool:
            await handle.signal("place_order", body("e1"))
            return (await client.get_workflow_handle(handle.id).describe()).run_id != first

        await eventually(renewed)
        at = time.monotonic()
        ledger.answers.set()
        await eventually(lambda: len(ledger.begun) == 2)
        assert ledger.begun[1] - at > 1, "the last try of the run before may take as long as a try may"
        assert (ledger.most_running, len(ledger.done)) == (1, 1)
        await client.get_workflow_handle(handle.id).terminate()


async def attributes(handle: WorkflowHandle[Any, Any]) -> tuple[str | None, Sequence[str] | None]:
    """Stage and WaitingFor."""
    known = (await handle.describe()).typed_search_attributes
    return known.get(STAGE), known.get(WAITING_FOR)


async def waits_for(handle: WorkflowHandle[Any, Any], *values: str) -> None:
    async def waits() -> bool:
        return (await attributes(handle))[1] == list(values)

    await eventually(waits)


async def resolve(handle: WorkflowHandle[Any, Any], event_id: str, choice: str) -> Verdict:
    decision = Decision(
        decision_id=uuid.uuid4().hex, actor="ann", step=event_id, choice=choice, evidence="seen"
    )
    await handle.signal("resolve", decision)
    return await verdict(handle, decision.decision_id)


async def test_an_effect_that_never_works_waits_for_an_operator_and_the_others_go_on(
    client: Client, accounts: Accounts, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.failing = {"place_order"}
    async with accounts.running():
        handle = await accounts.open()
        await handle.signal("place_order", body("e1", minor=60))
        await handle.signal("process_payment", body("e2", minor=60))
        await waits_for(handle, "operator")
        await eventually(lambda: "ALERT The effect of place_order e1 failed" in caplog.text)
        assert "waits for an operator: Declined: Not with us." in (await verdict(handle, "e1")).detail
        ledger.failing = set()
        await handle.signal("place_order", body("e3", "o3"))
        await eventually(lambda: [key.rpartition("/")[2] for key in ledger.done] == ["e3"])
        assert (await verdict(handle, "e2")).detail == "Recorded; its effect is under way.", (
            "it is about e1's order"
        )
        await handle.signal("process_payment", body("e4", "o3"))
        closed = await close(handle)
        assert (closed.outcome, "Waiting for an operator: 1; e1: Declined" in closed.detail) == (
            Outcome.APPLIED,
            True,
        )
        assert await attributes(handle) == ("closing", ["operator"])
        assert "Waiting for an operator: 1" in (await handle.query("get_status", result_type=Status)).summary
        assert (await resolve(handle, "e9", "retry")).outcome == Outcome.REFUSED
        stale = Decision(decision_id="stale", choice="skip", step="e1", evidence="seen", chain="another")
        await handle.signal("resolve", stale)
        assert "another run" in (await verdict(handle, "stale")).detail
        assert (await resolve(handle, "e1", "retry")).outcome == Outcome.APPLIED
        assert (await handle.result())["paid_in_full"] == 2
    assert (set(ledger.calls.values()), ledger.calls[f"{handle.id}/e1"]) == ({1, 2}, 2)
    assert [key.rpartition("/")[2] for key in ledger.done] == ["e3", "e4", "e1", "e2"]
    assert await attributes(handle) == ("closed", None)
    await replays(client, handle, "entity-operator", [EventSourcedWorkflow])


async def test_an_effect_behind_an_open_breaker_is_held_and_done_under_the_same_key(
    client: Client, accounts: Accounts, ledger: Ledger
) -> None:
    ledger.refused = True
    async with accounts.running():
        handle = await accounts.open(retry_seconds=600, effect_attempts=1, most_events=30)
        first = (await handle.describe()).run_id
        await handle.signal("place_order", body("e1", minor=60))
        await waits_for(handle, "breaker", "breaker:ledger")
        status = await handle.query("get_status", result_type=Status)
        assert status.waiting_for == ["breaker", "breaker:ledger"]
        assert "Held until ledger works again." in status.summary
        assert (await handle.query("get_state"))["failed_effects"] == []

        async def renewed() -> bool:
            await handle.signal("place_order", body("e1"))
            return (await client.get_workflow_handle(handle.id).describe()).run_id != first

        await eventually(renewed)
        held = client.get_workflow_handle(handle.id)
        await eventually(lambda: ledger.calls[f"{handle.id}/e1"] == 2)
        await waits_for(held, "breaker", "breaker:ledger")
        ledger.refused = False
        await held.signal("resume", Resume(dependency="ledger"))
        await eventually(lambda: list(ledger.done) == [f"{handle.id}/e1"])
        await waits_for_nothing(held)
        await held.terminate()


async def waits_for_nothing(handle: WorkflowHandle[Any, Any]) -> None:
    async def free() -> bool:
        return (await attributes(handle))[1] is None

    await eventually(free)


async def test_an_effect_that_is_held_lets_those_of_other_activities_go_on(
    client: Client, queue: str, worker: Any, ledger: Ledger, monkeypatch: Any
) -> None:
    noted: list[str] = []

    @activity.defn(name="note")
    async def note(effect: Effect) -> None:
        noted.append(effect.event_id)

    ledger.refused = True
    accounts = Accounts(client, queue, worker, known(monkeypatch, queue, ledger.activity, note))
    async with accounts.running():
        handle = await accounts.open(
            effects={"place_order": "post", "process_payment": "note"}, retry_seconds=600
        )
        await handle.signal("place_order", body("e1", "o1"))
        await handle.signal("place_order", body("e2", "o2"))
        await waits_for(handle, "breaker", "breaker:ledger")
        await handle.signal("process_payment", body("p2", "o2"))
        await handle.signal("place_order", body("e3", "o3"))
        ledger.refused = False
        state = await handle.query("get_state")
        assert (state["pending"], noted) == (["e1", "e2", "p2", "e3"], []), "p2 waits for e2"
        await handle.signal("resume", Resume(dependency="ledger"))
        await eventually(lambda: noted == ["p2"])
        await eventually(lambda: len(ledger.done) == 3)
        ledger.refused = True
        await handle.signal("place_order", body("e4", "o4"))
        await waits_for(handle, "breaker", "breaker:ledger")
        await handle.signal("process_payment", body("p3", "o3"))
        await eventually(lambda: noted == ["p2", "p3"])
        await handle.terminate()


async def test_a_native_cancellation_finishes_effects_and_says_so(
    client: Client, accounts: Accounts, ledger: Ledger
) -> None:
    ledger.answers.clear()
    async with accounts.running():
        handle = await accounts.open()
        await handle.signal("place_order", body("e1"))
        await handle.signal("place_order", body("e2", "o2"))
        await eventually(lambda: ledger.running)
        await handle.cancel()
        await handle.signal("place_order", body("e3", "o3"))
        assert (await verdict(handle, "e3")).detail == "It is closed: cancelled."
        assert await attributes(handle) == ("closing", None)
        ledger.answers.set()
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
        status = await handle.query("get_status", result_type=Status)
    assert isinstance(failed.value.cause, CancelledError)
    assert len(ledger.done) == 2
    assert ((await handle.describe()).status, status.status) == (
        WorkflowExecutionStatus.CANCELED,
        "cancelled",
    )
    assert await attributes(handle) == ("cancelled", None)
    await replays(client, handle, "entity-cancelled", [EventSourcedWorkflow])


async def test_a_cancelled_account_hands_an_effect_that_never_works_to_an_operator(
    accounts: Accounts, ledger: Ledger
) -> None:
    ledger.failing = {"place_order"}
    async with accounts.running():
        handle = await accounts.open()
        await handle.signal("place_order", body("e1"))
        await handle.cancel()
        await waits_for(handle, "operator")
        assert (await attributes(handle))[0] == "closing"
        assert (await resolve(handle, "e1", "skip")).outcome == Outcome.APPLIED
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert await attributes(handle) == ("cancelled", None)


async def test_events_that_find_no_room_are_refused_and_alerted_once(
    accounts: Accounts, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "MAX_PENDING", 500)
    ledger.down = True
    async with accounts.running():
        handle = await accounts.open()
        for number in range(9):
            await handle.signal("place_order", body(f"e{number}", f"o{number}"))
        told = await verdict(handle, "e8")
        assert (told.outcome, "send it again later" in told.detail) == (Outcome.REFUSED, True)
        await eventually(lambda: "ALERT Events are refused" in caplog.text)
        await handle.signal("place_order", body("e8", "o8"))
        await handle.query("get_state")
        assert caplog.text.count("ALERT Events are refused") == 1
        ledger.down = False
        await eventually(lambda: len(ledger.done) >= 3)
        await handle.signal("place_order", body("e8", "o8"))
        await eventually(lambda: f"{handle.id}/e8" in ledger.done)
        await handle.terminate()


async def test_what_comes_after_the_close_is_refused_while_effects_go_on(
    accounts: Accounts, ledger: Ledger
) -> None:
    ledger.down = True
    async with accounts.running():
        handle = await accounts.open(effects={"process_payment": "post"})
        await handle.signal("place_order", body("e1"))
        await handle.signal("process_payment", body("e2"))
        assert (await close(handle)).outcome == Outcome.APPLIED
        again = await close(handle)
        await handle.signal("place_order", body("e3", "o3"))
        assert (await verdict(handle, "e3")).detail == "It is closed: closed."
        assert (again.outcome, again.by) == (Outcome.ALREADY_DECIDED, "ann")
        assert (await handle.query("get_status", result_type=Status)).stage == "closing"
        ledger.down = False
        assert (await handle.result())["paid_in_full"] == 1


async def test_an_unknown_activity_fails_at_once_with_the_known_names(accounts: Accounts) -> None:
    async with accounts.running():
        handle = await accounts.open(effects={"place_order": "pots"})
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert "pots" in str(failed.value.cause.cause)
    assert "post" in str(failed.value.cause.cause).partition("Registered:")[2]
