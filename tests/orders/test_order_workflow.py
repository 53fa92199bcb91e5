"""OrderWorkflow on a real server: the way forward, decisions, and every ending."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from orders.messages import WORKFLOW_TYPE, OrderInput, OrderResult, Stage
from orders.workflows.order import OrderWorkflow
from tests.orders.fake_gateways import FakeGateways, an_order
from tests.support import eventually
from workers.client.attributes import DEADLINE, SAGA_STATE, STAGE, WAITING_FOR
from workers.contracts import (
    ApprovalPolicy,
    ApprovalStatus,
    Decision,
    Outcome,
    SagaState,
    SagaStatus,
    Status,
    StepState,
    Verdict,
)

TWO_EYES = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False)


class Bench:
    """One queue, one world, and the calls that the console makes."""

    def __init__(self, client: Client, queue: str, worker: Any) -> None:
        self.client, self.queue, self.world = client, queue, FakeGateways()
        self._worker = worker

    def running(self) -> Any:
        return self._worker(self.queue, workflows=[OrderWorkflow], activities=self.world.activities())

    async def start(self, **rules: Any) -> WorkflowHandle[Any, OrderResult]:
        return await self.place(an_order(uuid.uuid4().hex, **rules))

    async def place(self, order: OrderInput) -> WorkflowHandle[Any, OrderResult]:
        return await self.client.start_workflow(
            WORKFLOW_TYPE,
            order,
            id=f"order-{order.order_id}",
            task_queue=self.queue,
            result_type=OrderResult,
        )


@pytest.fixture
def bench(client: Client, queue: str, worker: Any) -> Bench:
    return Bench(client, queue, worker)


@asynccontextmanager
async def started(bench: Bench, **rules: Any) -> AsyncIterator[WorkflowHandle[Any, OrderResult]]:
    async with bench.running():
        yield await bench.start(**rules)


def decision(actor: str = "ann", **more: Any) -> Decision:
    return Decision(decision_id=more.pop("decision_id", uuid.uuid4().hex), actor=actor, **more)


async def verdict(handle: WorkflowHandle[Any, Any], decision_id: str) -> Verdict:
    answer: Verdict = await handle.query("get_decision", decision_id, result_type=Verdict)
    return answer


async def send(handle: WorkflowHandle[Any, Any], signal: str, body: Decision) -> Verdict:
    await handle.signal(signal, body)
    return await verdict(handle, body.decision_id)


async def saga(handle: WorkflowHandle[Any, Any]) -> SagaStatus:
    answer: SagaStatus = await handle.query("get_saga_status", result_type=SagaStatus)
    return answer


async def approval(handle: WorkflowHandle[Any, Any]) -> ApprovalStatus:
    answer: ApprovalStatus = await handle.query("get_approval_status", result_type=ApprovalStatus)
    return answer


async def attribute(handle: WorkflowHandle[Any, Any], key: Any) -> Any:
    return (await handle.describe()).typed_search_attributes.get(key)


async def until(handle: WorkflowHandle[Any, Any], key: Any, value: Any) -> None:
    async def there() -> bool:
        return bool(await attribute(handle, key) == value)

    await eventually(there)


def steps(status: SagaStatus) -> dict[str, str]:
    return {step.name: step.status for step in status.steps}


async def test_delivers_and_shows_each_step(bench: Bench) -> None:
    async with started(bench) as handle:
        result = await handle.result()
        status = await saga(handle)
    assert result.stage is Stage.DELIVERED
    assert status.state == SagaState.COMPLETED
    assert set(steps(status).values()) == {StepState.DONE}
    assert list(steps(status))[:4] == ["validate_order", "reserve_stock", "charge_payment", "book_shipment"]
    first_run = (await handle.describe()).raw_description.workflow_execution_info.first_run_id
    assert status.steps[2].idempotency_key == f"{first_run}/charge_payment/1"
    assert await attribute(handle, STAGE) == "delivered"
    assert await attribute(handle, SAGA_STATE) == "completed"
    assert bench.world.calls["charge_payment"] == 1


async def test_shows_steps_under_the_ids_of_their_activities(bench: Bench) -> None:
    async with started(bench) as handle:
        await handle.result()
        status = await saga(handle)
    history = await handle.fetch_history()
    scheduled = {
        event.activity_task_scheduled_event_attributes.activity_id
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    }
    assert {step.activity_id for step in status.steps} == scheduled


async def test_international_orders_go_by_freight(bench: Bench) -> None:
    async with bench.running():
        order = an_order(uuid.uuid4().hex).model_copy(update={"strategy": "international"})
        await (await bench.place(order)).result()
    assert "book_freight" in bench.world.standing
    assert bench.world.calls["book_shipment"] == 0


async def test_a_failed_notification_does_not_fail_the_order(bench: Bench) -> None:
    bench.world.declining("notify_customer", message="No such address.")
    async with started(bench) as handle:
        result = await handle.result()
        status = await saga(handle)
    assert result.stage is Stage.DELIVERED
    assert steps(status)["notify_customer"] == StepState.FAILED


async def test_quorum_of_two_and_no_self_approval(bench: Bench) -> None:
    async with started(bench, approval=TWO_EYES) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        assert await attribute(handle, DEADLINE) == (await approval(handle)).deadline
        own = await send(handle, "approve", decision("Riley", roles=["approver"]))
        stranger = await send(handle, "approve", decision("bob", roles=["viewer"]))
        first = await send(handle, "approve", decision("ann", roles=["approver"]))
        again = await send(handle, "approve", decision("ann", roles=["approver"]))
        assert (own.outcome, stranger.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
        assert first.outcome == Outcome.APPLIED
        assert again.outcome == Outcome.ALREADY_DECIDED
        assert (await approval(handle)).missing == 1
        await handle.signal("approve", decision("cid", roles=["approver"]))
        assert (await handle.result()).stage is Stage.DELIVERED
    assert await attribute(handle, WAITING_FOR) is None
    assert await attribute(handle, DEADLINE) is None


async def test_reject_releases_the_stock(bench: Bench) -> None:
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        await handle.signal("reject", decision("ann", reason="Too much."))
        result = await handle.result()
    assert result.stage is Stage.REJECTED
    assert "ann" in result.outcome
    assert bench.world.standing == set()
    assert bench.world.calls["charge_payment"] == 0
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert await attribute(handle, SAGA_STATE) == "compensated"


async def test_the_same_decision_twice_gets_the_same_verdict(bench: Bench) -> None:
    async with started(bench, approval=ApprovalPolicy(quorum=2)) as handle:
        body = decision("ann")
        first = await send(handle, "approve", body)
        second = await send(handle, "approve", body)
        assert first == second
        assert len((await approval(handle)).votes) == 1
        await handle.terminate()


async def test_two_people_at_once_one_applies_one_learns_who_was_first(bench: Bench) -> None:
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        one, two = decision("ann"), decision("bob", reason="No.")
        await asyncio.gather(handle.signal("approve", one), handle.signal("reject", two))
        await handle.result()
        answers = [await verdict(handle, one.decision_id), await verdict(handle, two.decision_id)]
    assert sorted(answer.outcome for answer in answers) == [Outcome.ALREADY_DECIDED, Outcome.APPLIED]
    applied = next(answer for answer in answers if answer.outcome == Outcome.APPLIED)
    late = next(answer for answer in answers if answer.outcome != Outcome.APPLIED)
    assert late.by == applied.by


@pytest.mark.parametrize(("seconds_after", "stage"), [(-0.5, Stage.DELIVERED), (0.2, Stage.EXPIRED)])
async def test_the_deadline_is_judged_by_the_decision_with_all_workers_down(
    bench: Bench, seconds_after: float, stage: Stage
) -> None:
    async with bench.running():
        handle = await bench.start(approval=ApprovalPolicy(), approval_seconds=2)
        await until(handle, WAITING_FOR, ["approval"])
        deadline = (await approval(handle)).deadline
    assert deadline is not None

    async def over() -> bool:
        return datetime.now(UTC) > deadline + timedelta(seconds=0.5)

    await eventually(over)
    body = decision("ann", at=deadline + timedelta(seconds=seconds_after))
    await handle.signal("approve", body)
    async with bench.running():
        assert (await handle.result()).stage is stage
        answer = await verdict(handle, body.decision_id)
    assert answer.outcome == (Outcome.APPLIED if stage is Stage.DELIVERED else Outcome.REFUSED)


async def test_without_a_decision_the_order_expires(bench: Bench) -> None:
    async with started(bench, approval=ApprovalPolicy(), approval_seconds=0.3) as handle:
        result = await handle.result()
    assert result.stage is Stage.EXPIRED
    assert bench.world.standing == set()


async def test_signals_without_or_with_wrong_bodies_never_stop_the_order(bench: Bench) -> None:
    async with started(bench, approval=TWO_EYES) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        for signal in ("approve", "reject", "resolve_compensation", "resume"):
            await handle.signal(signal)
            await handle.signal(signal, "garbage")
            await handle.signal(signal, {"decision_id": {"nested": 1}, "dependency": []})
            await handle.signal(signal, args=[{"decision_id": uuid.uuid4().hex}, 2, 3])
        state = await handle.query("get_state", result_type=dict)
        assert state["decisions"] == 12
        assert (await approval(handle)).votes == []
        assert (await verdict(handle, "unnamed-1")).detail == "The decision names no actor."
        assert (await verdict(handle, "unnamed-2")).detail == "The body is not a decision."
        description = await handle.describe()
        assert description.status is WorkflowExecutionStatus.RUNNING
        assert description.raw_description.pending_workflow_task.attempt <= 1
        await handle.signal("cancel")
        assert (await handle.result()).stage is Stage.CANCELLED


async def test_a_bare_approve_counts_where_anybody_may_decide(bench: Bench) -> None:
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        await handle.signal("approve")
        assert (await handle.result()).stage is Stage.DELIVERED


async def test_a_declined_card_releases_the_stock_and_completes(bench: Bench) -> None:
    bench.world.declining("charge_payment", message="The card was declined.")
    async with started(bench) as handle:
        result = await handle.result()
        status = await saga(handle)
    assert (result.stage, result.outcome) == (Stage.DECLINED, "The card was declined.")
    assert bench.world.standing == set()
    assert bench.world.calls["refund_payment"] == 0, "the refusal says that nothing was charged"
    assert steps(status)["charge_payment"] == StepState.FAILED


async def test_an_invalid_order_fails(bench: Bench) -> None:
    bench.world.declining("validate_order", kind="InvalidOrder", message="lines: none.")
    async with started(bench) as handle:
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "InvalidOrder"
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED


async def test_native_cancellation_compensates_and_ends_canceled(bench: Bench) -> None:
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert bench.world.standing == set()
    assert await attribute(handle, SAGA_STATE) == "compensated"


async def test_cancel_after_the_shipment_is_refused(bench: Bench) -> None:
    told = bench.world.hanging("notify_customer")
    async with started(bench) as handle:
        await until(handle, STAGE, "notifying")
        answer = await send(handle, "cancel", decision("ann", reason="Changed my mind."))
        await handle.cancel()
        told.set()
        assert (await handle.result()).stage is Stage.DELIVERED
    assert answer.outcome == Outcome.REFUSED
    assert "point of no return" in answer.detail


async def test_a_charge_that_hangs_is_undone_once_although_it_lands_late(bench: Bench) -> None:
    landed = bench.world.hanging("charge_payment")
    async with started(bench) as handle:
        await eventually(lambda: bench.world.calls["charge_payment"])
        answer = await send(handle, "cancel", decision("ann", reason="Wrong size."))
        result = await handle.result()
        status = await saga(handle)
        landed.set()
    assert answer.outcome == Outcome.APPLIED
    assert result.stage is Stage.CANCELLED
    assert bench.world.standing == set()
    assert steps(status)["charge_payment"] == StepState.UNKNOWN
    refunds = [undo for undo in bench.world.undos if "/charge_payment/" in undo.idempotency_key]
    assert [undo.undo_key for undo in refunds] == [f"{status.steps[2].idempotency_key}/undo/1"]


async def test_a_charge_that_timed_out_after_it_happened_is_undone_once(bench: Bench) -> None:
    slow = bench.world.hanging("charge_payment")
    async with started(bench, step_seconds=1) as handle:
        await eventually(lambda: bench.world.calls["charge_payment"] >= 2)
        await handle.signal("cancel", decision("ann", reason="Never mind."))
        slow.set()
        assert (await handle.result()).stage is Stage.CANCELLED
    assert "charge_payment" not in bench.world.standing
    assert bench.world.calls["refund_payment"] == 1


async def test_cancelling_during_the_compensation_changes_nothing(bench: Bench) -> None:
    released = bench.world.hanging("release_stock")
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        await handle.signal("cancel", decision("ann", reason="Stop."))
        await eventually(lambda: bench.world.calls["release_stock"])
        again = await send(handle, "cancel", decision("bob", reason="Stop!"))
        await handle.cancel()
        await until(handle, SAGA_STATE, "compensating")
        await handle.cancel()
        released.set()
        assert (await handle.result()).stage is Stage.CANCELLED
    assert again.outcome == Outcome.ALREADY_DECIDED
    assert bench.world.calls["release_stock"] == 1


async def test_a_stuck_compensation_waits_for_an_operator(bench: Bench) -> None:
    bench.world.down("release_stock")
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        await handle.signal("cancel", decision("ann", reason="Stop."))
        await until(handle, SAGA_STATE, "stuck")
        assert await attribute(handle, WAITING_FOR) == ["operator"]
        summary = (await handle.query("get_status", result_type=Status)).summary
        assert "operator" in summary
        bare = await send(handle, "resolve_compensation", decision("op", choice="skip"))
        assert bare.outcome == Outcome.REFUSED
        edited = {"choice": "retry", "input": {"bin": "B2"}}
        blind = await send(handle, "resolve_compensation", decision("op", **edited))
        assert blind.outcome == Outcome.REFUSED
        await handle.signal("resolve_compensation", decision("op", evidence="Still in B1.", **edited))
        await eventually(lambda: len(bench.world.undos) == 2)
        assert bench.world.undos[1].input == {"bin": "B2"}
        assert bench.world.undos[1].undo_key.endswith("/undo/2")
        await until(handle, SAGA_STATE, "stuck")
        settled = await send(
            handle,
            "resolve_compensation",
            decision("op", step="release_stock", choice="settled_outside", evidence="Ticket 12."),
        )
        assert settled.outcome == Outcome.APPLIED
        assert (await handle.result()).stage is Stage.CANCELLED
        undo = (await saga(handle)).steps[1].compensation
    assert undo is not None
    assert undo.status == StepState.SETTLED


async def test_a_retried_compensation_succeeds_once_healed(bench: Bench) -> None:
    bench.world.down("release_stock")
    async with started(bench, approval=ApprovalPolicy()) as handle:
        await until(handle, WAITING_FOR, ["approval"])
        await handle.cancel()
        await until(handle, SAGA_STATE, "stuck")
        bench.world.heal("release_stock")
        await handle.signal("resolve_compensation", decision("op", choice="retry"))
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert bench.world.standing == set()
    assert len({undo.undo_key for undo in bench.world.undos}) == 1, "the same undo, so the same key"


async def test_a_new_worker_goes_on_where_the_old_one_stopped(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.start(approval=ApprovalPolicy())
        await until(handle, WAITING_FOR, ["approval"])
    await handle.signal("approve", decision("ann"))
    async with bench.running():
        assert (await handle.result()).stage is Stage.DELIVERED
        assert (await saga(handle)).state == SagaState.COMPLETED
    assert set(bench.world.calls.values()) == {1}
