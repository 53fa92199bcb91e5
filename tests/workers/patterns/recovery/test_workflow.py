"""RecoveryWorkflow on a real server: tried again, undone by a child, or settled by a person."""

from __future__ import annotations

import uuid
from typing import Any, cast

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.fake_services import Run, Yard, a_plan, step
from workers.contracts import Outcome, Status, StepState
from workers.patterns.dynamic.resolve import UNKNOWN_ACTIVITY, UNKNOWN_WORKFLOW
from workers.patterns.recovery.recovery import (
    INVALID_RECOVERY,
    Action,
    RecoveryPlan,
    RecoveryPolicy,
    RecoveryResult,
    RecoveryRules,
    Rule,
    Undoing,
)
from workers.patterns.recovery.workflow import RecoveryWorkflow
from workers.patterns.saga.messages import Retry, UndoCall
from workers.registry.registry import registry

pytestmark = pytest.mark.django_db(transaction=True)

SOON = Retry(attempts=3, initial_seconds=0.01, maximum_seconds=0.02)
POLICY = RecoveryPolicy(
    rules=[
        Rule(errors=["Away"], retry=SOON, then=Action.COMPENSATE),
        Rule(errors=["Declined"], action=Action.COMPENSATE),
        Rule(errors=["Later"], retry=Retry(attempts=0, initial_seconds=600, maximum_seconds=600)),
    ],
    otherwise=Rule(retry=SOON),
)
BACK = Undoing(saga=a_plan(step("back")))


class Recovering(Run):
    """A started recovery."""

    @classmethod
    async def of(cls, client: Client, yard: Yard, undoing: Undoing | None = BACK, **more: Any) -> Recovering:
        given = {"activity": "couple", "input": "pay", "policy": POLICY, "undoing": undoing, **more}
        rules = given.setdefault("rules", RecoveryRules(held_retry_seconds=600))
        assert isinstance(rules, RecoveryRules)
        if undoing is None and "policy" not in more:
            given["policy"] = RecoveryPolicy(rules=POLICY.rules[2:], otherwise=POLICY.otherwise)
        handle = await client.start_workflow(
            "RecoveryWorkflow",
            RecoveryPlan.model_validate(given),
            id=f"recovery-{uuid.uuid4().hex}",
            task_queue=yard.queue,
            result_type=RecoveryResult,
        )
        return cls(handle)

    async def ended(self) -> RecoveryResult:
        return cast(RecoveryResult, await self.handle.result())

    async def state(self) -> dict[str, Any]:
        answer: dict[str, Any] = await self.handle.query("get_state", result_type=dict)
        return answer


@workflow.defn(name="Reversal")
class Reversal:
    """A compensation of somebody's own."""

    @workflow.run
    async def run(self, call: UndoCall) -> None:
        if call.input != {"account": 1}:
            raise ApplicationError(f"No account in {call.input}.", type="NoAccount", non_retryable=True)


async def test_tries_again_under_the_same_key_and_keeps_every_attempt(client: Client, yard: Yard) -> None:
    yard.refusing("pay", kind="Away", final=False)
    yard.hanging("pay")
    endless = SOON.model_copy(update={"attempts": 0})
    run = await Recovering.of(client, yard, policy=RecoveryPolicy(otherwise=Rule(retry=endless)))
    await eventually(lambda: yard.calls["pay"])
    yard.gates.pop("pay").set()

    async def failed_once() -> bool:
        return (await run.state())["total"] >= 1

    await eventually(failed_once)
    del yard.faults["pay"]
    result = await run.ended()
    assert (result.end, result.result) == ("done", {"coupled": "pay"})
    assert len({call.idempotency_key for call in yard.steps}) == 1
    assert result.total == len(result.attempts) == yard.calls["pay"] - 1
    assert {(item.error_type, item.message, item.action) for item in result.attempts} == {
        ("Away", "pay: no.", Action.RETRY)
    }
    await run.until("completed")


async def test_retries_that_are_used_up_are_undone_by_a_child_saga(client: Client, yard: Yard) -> None:
    yard.refusing("pay", kind="Away", final=False)
    run = await Recovering.of(client, yard)
    result = await run.ended()
    assert (result.end, result.total, result.outcome) == ("compensated", 3, "Away: pay: no.")
    assert [item.action for item in result.attempts] == ["retry", "retry", "compensate"]
    assert yard.standing == ["back"]
    await run.until("compensated")
    child = await client.get_workflow_handle(f"{run.handle.id}-undo").describe()
    assert child.status is WorkflowExecutionStatus.COMPLETED
    await replays(client, run.handle, "recovery", [RecoveryWorkflow])


async def test_what_no_rule_covers_calls_a_person_who_edits_and_retries(
    client: Client, yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    yard.refusing("pay", kind="Malformed")
    run = await Recovering.of(client, yard, undoing=None)
    await run.until("stuck", "operator")
    await eventually(lambda: f"couple (workflow {run.handle.id}): Malformed: pay: no." in caplog.text)
    assert (await run.handle.query("get_status", result_type=Status)).stage == "escalated"
    assert (await run.steps())["couple"] == StepState.STUCK
    bare = await run.say("resolve_compensation", choice="skip")
    edited = await run.say("resolve_compensation", step="couple", choice="retry", input={"name": "paid"})
    assert (bare.outcome, edited.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    result = await run.ended()
    assert (result.end, result.total) == ("done", 1)
    assert [call.idempotency_key.rpartition("/couple/")[2] for call in yard.steps] == ["1", "1/r2"]
    await replays(client, run.handle, "recovery-escalated", [RecoveryWorkflow])


async def test_what_may_have_happened_is_only_tried_again_with_the_same_input(
    client: Client, yard: Yard
) -> None:
    yard.refusing("pay", kind="Odd", final=False)
    run = await Recovering.of(client, yard, policy=RecoveryPolicy(otherwise=Rule(action=Action.ESCALATE)))
    await run.until("stuck", "operator")
    edited = await run.say("resolve_compensation", choice="retry", input={"pay": 2})
    settled = await run.say("resolve_compensation", choice="settled_outside", evidence="Seen at the bank.")
    assert (edited.outcome, settled.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    assert (await run.ended()).end == "settled_outside"


async def test_a_compensation_that_fails_waits_for_a_person(client: Client, yard: Yard) -> None:
    yard.refusing("pay", kind="Declined")
    yard.refusing("back")
    run = await Recovering.of(client, yard)
    await run.until("stuck", "operator")
    status = (await run.status()).steps[0].compensation
    assert status is not None
    assert (status.status, status.error) == (StepState.STUCK, "The compensation was undone itself: back: no.")
    edited = await run.say("resolve_compensation", choice="retry", input={"x": 1})
    del yard.faults["back"]
    again = await run.say("resolve_compensation", step="couple", choice="retry")
    assert (edited.outcome, again.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    assert (await run.ended()).end == "compensated"
    assert (await run.status()).steps[0].child_workflow_id == f"{run.handle.id}-undo-2"


async def test_a_workflow_of_ones_own_undoes_it(client: Client, halted: Yard, worker: Any) -> None:
    mine = f"{halted.queue}-mine"
    registry.add(mine, workflows=[Reversal])
    halted.refusing("pay", kind="Declined")
    try:
        async with halted.running(), worker(mine, workflows=[Reversal]):
            run = await Recovering.of(client, halted, Undoing(workflow="Reversal", input={}))
            await run.until("stuck", "operator")
            said = await run.say("resolve_compensation", choice="retry", input={"account": 1})
            assert said.outcome == Outcome.APPLIED
            assert (await run.ended()).end == "compensated"
    finally:
        del registry.queues[mine]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"activity": "nobodys"}, UNKNOWN_ACTIVITY),
        ({"undoing": Undoing(workflow="Nobodys")}, UNKNOWN_WORKFLOW),
        ({"activity": ""}, INVALID_RECOVERY),
    ],
)
async def test_a_name_that_nobody_has_fails_at_once(
    client: Client, yard: Yard, more: dict[str, Any], kind: str
) -> None:
    run = await Recovering.of(client, yard, **more)
    with pytest.raises(WorkflowFailureError) as caught:
        await run.handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == kind
    assert not yard.steps


async def test_an_open_breaker_is_no_attempt(client: Client, yard: Yard) -> None:
    yard.held("pay", "payments")
    run = await Recovering.of(client, yard)
    await run.until("running", "breaker", "breaker:payments")
    del yard.faults["pay"]
    await run.handle.signal("resume", {"dependency": "payments"})
    result = await run.ended()
    assert (result.end, result.total) == ("done", 0)


async def test_cancel_undoes_what_may_have_happened(client: Client, yard: Yard) -> None:
    landed = yard.hanging("pay")
    run = await Recovering.of(client, yard)
    await eventually(lambda: yard.calls["pay"])
    assert (await run.say("cancel", actor="ann", reason="Stop.")).outcome == Outcome.APPLIED
    result = await run.ended()
    landed.set()
    assert (result.end, result.outcome) == ("cancelled", "Cancelled by ann: Stop.")
    assert "back" in yard.standing


async def test_without_anything_that_undoes_it_a_person_settles_a_cancellation(
    client: Client, yard: Yard
) -> None:
    landed = yard.hanging("pay")
    run = await Recovering.of(client, yard, undoing=None)
    await eventually(lambda: yard.calls["pay"])
    refused = await run.say("cancel", actor="ann", reason="Stop.")
    assert (refused.outcome, "may have happened" in refused.detail) == (Outcome.REFUSED, True)
    await run.handle.cancel()
    await run.until("stuck", "operator")
    await run.say("resolve_compensation", choice="settled_outside", evidence="Refunded by hand.")
    landed.set()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
    assert (await run.handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_continues_as_new_with_all_that_it_knows(client: Client, yard: Yard) -> None:
    yard.refusing("pay", kind="Away", final=False)
    policy = RecoveryPolicy(otherwise=Rule(retry=SOON.model_copy(update={"attempts": 8})))
    run = await Recovering.of(
        client, yard, policy=policy, rules=RecoveryRules(most_events=50, held_retry_seconds=600)
    )
    await run.until("stuck", "operator")
    description = await run.handle.describe()
    assert description.run_id != run.handle.first_execution_run_id
    assert (await run.state())["total"] == 8
    assert len({call.idempotency_key for call in yard.steps}) == 1
    del yard.faults["pay"]
    await run.say("resolve_compensation", choice="retry")
    result = await run.ended()
    assert (result.end, [item.number for item in result.attempts]) == ("done", list(range(1, 9)))
