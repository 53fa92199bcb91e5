"""A payout that is retried, taken back, or handed to an operator, by what went wrong."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.patterns.saga.messages import Retry, StepCall, UndoCall
from workers.patterns.saga.plan import SagaPlan, SagaStep
from workers.patterns.saga.recovery import TIMEOUT, Action, RecoveryPolicy, Rule

paid: dict[str, str] = {}
released: set[str] = set()


@activity.defn
async def pay_out(call: StepCall) -> str:
    if not call.input["iban"].startswith("DE"):
        raise ApplicationError("The account is closed.", type="AccountClosed", non_retryable=True)
    return paid.setdefault(call.idempotency_key, call.input["iban"])


@activity.defn
async def release_funds(call: UndoCall) -> None:
    paid.pop(call.idempotency_key, None)
    released.add(call.idempotency_key)


ACTIVITIES = [pay_out, release_funds]

POLICY = RecoveryPolicy(
    rules=[
        Rule(errors=["RateLimited"], retry=Retry(attempts=10, initial_seconds=2, maximum_seconds=300)),
        Rule(errors=["DependencyUnavailable", TIMEOUT], retry=Retry(attempts=6), then=Action.ESCALATE),
        Rule(errors=["AccountClosed", "Declined"], action=Action.COMPENSATE),
    ],
    otherwise=Rule(action=Action.ESCALATE),
)


def payout(number: str, iban: str) -> SagaPlan:
    step = SagaStep(
        activity="pay_out", input={"payout": number, "iban": iban}, recovery=POLICY, undo="release_funds"
    )
    return SagaPlan(subject=f"Payout {number}", steps=[step])
