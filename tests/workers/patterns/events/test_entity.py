"""The event-sourced entity on the server: each event once, each effect once, whatever is sent."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.effects import Ledger, known, ledger, running  # noqa: F401 (fixture)
from workers.client.attributes import STAGE
from workers.contracts import Decision, Outcome, Status, Verdict
from workers.patterns.events.entity import EntityInput
from workers.patterns.events.entity_workflow import EventSourcedWorkflow

pytestmark = pytest.mark.django_db(transaction=True)  # names resolve by a table too

EFFECTS = {"place_order": "post", "process_payment": "post"}


class Desk:
    """An account on a queue of its own."""

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
def desk(client: Client, queue: str, worker: Any, ledger: Ledger, monkeypatch: Any) -> Desk:  # noqa: F811
    return Desk(client, queue, worker, known(monkeypatch, queue, ledger.activity))


def body(event_id: str, order_id: str = "o1", minor: int = 100) -> dict[str, Any]:
    return {"event_id": event_id, "order_id": order_id, "amount": {"minor": minor, "currency": "EUR"}}


async def verdict(handle: WorkflowHandle[Any, Any], known_id: str) -> Verdict:
    found: Verdict = await handle.query("get_decision", known_id, result_type=Verdict)
    return found


async def close(handle: WorkflowHandle[Any, Any], **decision: Any) -> Verdict:
    body = Decision(decision_id=uuid.uuid4().hex, actor="ann", **decision)
    await handle.signal("close_account", body)
    return await verdict(handle, body.decision_id)


async def test_an_account_from_its_first_order_to_its_end(client: Client, desk: Desk, ledger: Ledger) -> None:  # noqa: F811
    async with desk.running():
        handle = await desk.open()
        await handle.signal("place_order", body("e1"))
        await handle.signal("place_order", body("e1"))
        await handle.signal("place_order", body("e2", "o2", 50))
        assert "2 orders are not paid" in (await close(handle)).detail
        await handle.signal("process_payment", body("e3", minor=60))
        await handle.signal("process_payment", body("e4", minor=40))
        await handle.signal("process_payment", body("e5", "o2", 50))
        state = await handle.query("get_state")
        assert (state["version"], state["state"]["settled"], state["state"]["paid"]) == (5, 2, {"EUR": 150})
        assert (await close(handle)).outcome == Outcome.APPLIED
        assert (await handle.result())["paid"] == {"EUR": 150}
        assert {key.rpartition("/")[2] for key in ledger.done} == {"e1", "e2", "e3", "e4", "e5"}
        assert set(ledger.calls.values()) == {1}, "an event sent twice has its effect once"
        with pytest.raises(RPCError, match="already completed"):
            await handle.signal("place_order", body("late"))
    assert (await handle.describe()).typed_search_attributes.get(STAGE) == "closed"
    await replays(client, handle, "entity", [EventSourcedWorkflow])


async def test_no_body_wrong_bodies_and_too_many_are_recorded_and_harm_nothing(desk: Desk) -> None:
    async with desk.running():
        handle = await desk.open()
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


async def test_events_and_effects_survive_continue_as_new(desk: Desk, ledger: Ledger) -> None:  # noqa: F811
    ledger.down = True
    async with desk.running():
        handle = await desk.open(most_events=30)
        first = (await handle.describe()).run_id
        for number in range(12):
            await handle.signal("place_order", body(f"e{number}", f"o{number}"))

        async def renewed() -> bool:
            await handle.signal("place_order", body("e0", "o0"))  # however few tasks the others came in
            return (await desk.client.get_workflow_handle(handle.id).describe()).run_id != first

        await eventually(renewed)
        for number in range(12):
            await handle.signal("place_order", body(f"e{number}", f"o{number}"))
        state = await handle.query("get_state")
        assert (state["version"], len(state["pending"])) == (12, 12)
        ledger.down = False

        async def done() -> bool:
            return len(ledger.done) == 12 and not (await handle.query("get_state"))["pending"]

        await eventually(done)
        assert list(ledger.done) == [f"{handle.id}/e{number}" for number in range(12)], "in their order"
        last = desk.client.get_workflow_handle(handle.id)
        await replays(desk.client, last, "entity-next", [EventSourcedWorkflow])
        before = desk.client.get_workflow_handle(handle.id, run_id=first)
        await replays(desk.client, before, "entity-renewed", [EventSourcedWorkflow])
        await last.terminate()


async def test_an_effect_that_fails_for_good_is_shown_and_the_others_go_on(
    desk: Desk,
    ledger: Ledger,  # noqa: F811
) -> None:
    ledger.failing = {"place_order"}
    async with desk.running():
        handle = await desk.open()
        await handle.signal("place_order", body("e1"))
        await handle.signal("process_payment", body("e2"))
        await eventually(lambda: len(ledger.done) == 1)
        assert "Not with us" in (await verdict(handle, "e1")).detail
        assert (await close(handle)).outcome == Outcome.APPLIED
        await handle.result()


async def test_what_comes_after_the_close_is_refused_while_effects_go_on(desk: Desk, ledger: Ledger) -> None:  # noqa: F811
    ledger.down = True
    async with desk.running():
        handle = await desk.open(effects={"process_payment": "post"})
        await handle.signal("place_order", body("e1"))
        await handle.signal("process_payment", body("e2"))
        assert (await close(handle)).outcome == Outcome.APPLIED
        again = await close(handle)
        await handle.signal("place_order", body("e3", "o3"))
        assert (await verdict(handle, "e3")).detail == "It is closed."
        assert (again.outcome, again.by) == (Outcome.ALREADY_DECIDED, "ann")
        assert (await handle.query("get_status", result_type=Status)).stage == "closing"
        ledger.down = False
        assert (await handle.result())["settled"] == 1


async def test_an_unknown_activity_fails_at_once_with_the_known_names(desk: Desk) -> None:
    async with desk.running():
        handle = await desk.open(effects={"place_order": "pots"})
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert "pots" in str(failed.value.cause.cause)
    assert "post" in str(failed.value.cause.cause).partition("Registered:")[2]
