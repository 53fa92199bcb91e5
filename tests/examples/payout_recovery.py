"""A payout that is tried again, taken back, or handed to a person, by what went wrong."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.patterns.recovery.recovery import TIMEOUT, Action, RecoveryPlan, RecoveryPolicy, Rule, Undoing
from workers.patterns.saga.messages import Retry, StepCall
from workers.patterns.saga.plan import SagaPlan, SagaStep

paid: dict[str, str] = {}
released: list[str] = []


@activity.defn
async def pay_out(call: StepCall) -> str:
    if not call.input["iban"].startswith("DE"):
        raise ApplicationError("The account is closed.", type="AccountClosed", non_retryable=True)
    return paid.setdefault(call.idempotency_key, call.input["iban"])


@activity.defn
async def release_funds(call: StepCall) -> None:
    released.append(call.input["payout"])


ACTIVITIES = [pay_out, release_funds]

POLICY = RecoveryPolicy(
    rules=[
        Rule(errors=["RateLimited"], retry=Retry(attempts=10, initial_seconds=2, maximum_seconds=300)),
        Rule(errors=["DependencyUnavailable", TIMEOUT], retry=Retry(attempts=6), then=Action.ESCALATE),
        Rule(errors=["AccountClosed", "Declined"], action=Action.COMPENSATE),
    ],
    otherwise=Rule(action=Action.ESCALATE),
)


def payout(number: str, iban: str) -> RecoveryPlan:
    return RecoveryPlan(
        activity="pay_out",
        input={"payout": number, "iban": iban},
        policy=POLICY,
        undoing=Undoing(saga=SagaPlan(steps=[SagaStep(activity="release_funds", input={"payout": number})])),
    )
