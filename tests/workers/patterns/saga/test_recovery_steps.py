"""Steps with a recovery policy, on a real server: retried, compensated, or settled by an operator."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.fake_services import FakeServices, Run, step
from workers.contracts import Outcome, SagaState, StepState
from workers.patterns.saga.messages import Retry
from workers.patterns.saga.plan import SagaStep
from workers.patterns.saga.recovery import Action, RecoveryPolicy, Rule
from workers.patterns.saga.workflow import SagaWorkflow

pytestmark = pytest.mark.django_db(transaction=True)

SOON = Retry(attempts=3, initial_seconds=0.01, maximum_seconds=0.02)
POLICY = RecoveryPolicy(
    rules=[
        Rule(errors=["Away"], retry=SOON, then=Action.COMPENSATE),
        Rule(errors=["Refused"], action=Action.COMPENSATE),
        Rule(errors=["Later"], retry=Retry(attempts=0, initial_seconds=600, maximum_seconds=600)),
    ],
    otherwise=Rule(action=Action.ESCALATE),
)


def pay(policy: RecoveryPolicy = POLICY, **more: Any) -> SagaStep:
    return step("pay", recovery=policy, attempts=0, **more)


async def attempts(run: Run) -> list[dict[str, Any]]:
    state: dict[str, Any] = await run.handle.query("get_state", result_type=dict)
    kept: list[dict[str, Any]] = state["attempts"].get("pay", [])
    return kept


async def test_is_tried_again_under_the_same_key_and_every_attempt_is_kept(
    client: Client, services: FakeServices
) -> None:
    services.refusing("pay", kind="Away", final=False)
    endless = SOON.model_copy(update={"attempts": 0})
    run = await Run.start(client, services, pay(RecoveryPolicy(otherwise=Rule(retry=endless))))

    async def failed_twice() -> bool:
        return len(await attempts(run)) >= 2

    await eventually(failed_twice)
    services.faults.clear()
    assert (await run.handle.result()).state == SagaState.COMPLETED
    assert len({call.idempotency_key for call in services.steps}) == 1
    kept = await attempts(run)
    assert len(kept) == services.calls["pay"] - 1
    assert {(item["error_type"], item["message"], item["action"]) for item in kept} == {
        ("Away", "pay: no.", "retry")
    }
    assert [item["wait_seconds"] for item in kept[:2]] == [0.01, 0.02]


async def test_when_its_retries_are_used_up_the_saga_is_compensated(
    client: Client, services: FakeServices
) -> None:
    services.refusing("pay", kind="Away", final=False)
    run = await Run.start(client, services, step("reserve"), pay())
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "pay: no.")
    assert [item["action"] for item in await attempts(run)] == ["retry", "retry", "compensate"]
    [undo, _] = services.undos
    assert undo.idempotency_key == services.steps[-1].idempotency_key, "its undo knows what it undoes"
    assert [undo.input["name"] for undo in services.undos] == ["pay", "reserve"]
    await replays(client, run.handle, "saga-recovery", [SagaWorkflow])


async def test_a_type_that_asks_for_it_compensates_at_once(client: Client, services: FakeServices) -> None:
    services.refusing("pay")
    run = await Run.start(client, services, pay())
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert services.calls["pay"] == 1


async def test_what_did_not_happen_is_escalated_edited_and_tried_under_another_key(
    client: Client, services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    services.declining("pay")
    run = await Run.start(client, services, pay())
    await run.until("stuck", "operator")
    await eventually(lambda: f"pay (workflow {run.handle.id}): pay: no." in caplog.text)
    assert (await run.steps())["pay"] == StepState.STUCK
    bare = await run.say("resolve_compensation", choice="skip")
    edited = await run.say("resolve_compensation", step="pay", choice="retry", input={"name": "paid"})
    assert (bare.outcome, edited.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    result = await run.handle.result()
    assert (result.state, services.standing) == (SagaState.COMPLETED, ["paid"])
    assert [call.idempotency_key.rpartition("/pay/")[2] for call in services.steps] == ["1", "1/r2"]
    assert [item["action"] for item in await attempts(run)] == ["escalate"]
    assert result.compensations[0].idempotency_key.endswith("/pay/1/r2")
    await replays(client, run.handle, "saga-recovery-escalated", [SagaWorkflow])


async def test_the_undo_of_an_edited_step_has_its_own_input(client: Client, services: FakeServices) -> None:
    services.declining("pay")
    services.declining("ship")
    run = await Run.start(client, services, pay(), step("ship"))
    await run.until("stuck", "operator")
    await run.say("resolve_compensation", step="pay", choice="retry", input={"name": "paid"})
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    [undo] = services.undos
    assert (undo.input, undo.result) == ({"name": "pay"}, {"booked": "paid"})
    assert undo.undo_key.endswith("/pay/1/r2/undo/1")
    assert services.standing == []


@pytest.mark.parametrize("choice", ["retry", "skip", "settled_outside"])
async def test_what_may_have_happened_is_only_tried_again_with_the_same_input(
    client: Client, services: FakeServices, choice: str
) -> None:
    services.refusing("pay", kind="Strange", final=False)
    run = await Run.start(client, services, step("reserve"), pay())
    await run.until("stuck", "operator")
    edited = await run.say("resolve_compensation", choice="retry", input={"name": "paid"}, evidence="Seen.")
    assert (edited.outcome, "same input" in edited.detail) == (Outcome.REFUSED, True)
    services.faults.clear()
    await run.say("resolve_compensation", choice=choice, evidence="Seen at the bank.")
    result = await run.handle.result()
    skipped = choice == "skip"
    assert result.state == (SagaState.COMPENSATED if skipped else SagaState.COMPLETED)
    assert len({call.idempotency_key for call in services.steps if call.input == "pay"}) == 1
    assert [undo.input["name"] for undo in services.undos] == (["reserve"] if skipped else [])


async def test_an_operators_retry_begins_all_retries_anew(client: Client, services: FakeServices) -> None:
    services.refusing("pay", kind="Away", final=False)
    policy = RecoveryPolicy(otherwise=Rule(retry=SOON))
    run = await Run.start(client, services, pay(policy))
    await run.until("stuck", "operator")
    assert services.calls["pay"] == 3
    await run.say("resolve_compensation", choice="retry")
    await eventually(lambda: services.calls["pay"] == 6)
    await run.until("stuck", "operator")
    assert [item["number"] for item in await attempts(run)] == [1, 2, 3, 4, 5, 6]
    await run.say("resolve_compensation", choice="settled_outside", evidence="Paid by hand.")
    assert (await run.handle.result()).by_hand == ["pay"]


async def test_a_breakers_refusal_is_no_attempt(client: Client, services: FakeServices) -> None:
    services.held("pay", "payments")
    run = await Run.start(client, services, pay())
    await run.until("running", "breaker", "breaker:payments")
    services.faults.clear()
    await run.handle.signal("resume", {"dependency": "payments"})
    assert (await run.handle.result()).state == SagaState.COMPLETED
    assert await attempts(run) == []


async def test_cancel_while_it_waits_to_be_tried_again_undoes_it(
    client: Client, services: FakeServices
) -> None:
    services.refusing("pay", kind="Later", final=False)
    run = await Run.start(client, services, pay())
    await eventually(lambda: services.calls["pay"])

    async def waits() -> bool:
        return bool(await attempts(run))

    await eventually(waits)
    assert (await run.say("cancel", actor="ann", reason="Stop.")).outcome == Outcome.APPLIED
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "Cancelled by ann: Stop.")
    assert [undo.input["name"] for undo in services.undos] == ["pay"]


async def test_cancel_while_it_is_escalated_undoes_it(client: Client, services: FakeServices) -> None:
    services.refusing("pay", kind="Strange")
    run = await Run.start(client, services, pay())
    await run.until("stuck", "operator")
    assert (await run.say("cancel", actor="ann")).outcome == Outcome.APPLIED
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert [undo.input["name"] for undo in services.undos] == ["pay"]


async def test_without_an_undo_an_operator_settles_a_cancellation(
    client: Client, services: FakeServices
) -> None:
    landed = services.hanging("pay")
    run = await Run.start(client, services, pay(undo="", point_of_no_return=True))
    await eventually(lambda: services.calls["pay"])
    refused = await run.say("cancel", actor="ann", reason="Stop.")
    assert (refused.outcome, "its outcome comes first" in refused.detail) == (Outcome.REFUSED, True)
    await run.handle.cancel()
    await run.until("stuck", "operator")
    await run.say("resolve_compensation", choice="settled_outside", evidence="Refunded by hand.")
    landed.set()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
