"""Recovery: what a step's failure asks for, chosen by the type of its error. Pure: it has no clock.

Retry with growing pauses, compensate, or escalate to an operator. Every attempt is kept.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field
from temporalio.exceptions import ActivityError, ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as TemporalTimeout

from workers.patterns.saga.messages import Retry

TIMEOUT = "Timeout"
MAX_KEPT = 100
MAX_MESSAGE = 1_000


class Action(StrEnum):
    RETRY = "retry"
    COMPENSATE = "compensate"
    ESCALATE = "escalate"


class Failure(BaseModel):
    """`type`: of the ApplicationError, or Timeout. `retryable`: the activity does not rule out a retry."""

    type: str = ""
    message: str = ""
    retryable: bool = True


class Rule(BaseModel):
    """What to do about failures of the types `errors`. `then`: when the retries are used up."""

    errors: list[str] = Field(default_factory=list)
    action: Action = Action.RETRY
    retry: Retry = Field(default_factory=lambda: Retry(attempts=5, maximum_seconds=60))
    then: Action = Action.ESCALATE


class RecoveryPolicy(BaseModel):
    """The first rule that names the type of a failure counts, else `otherwise`."""

    rules: list[Rule] = Field(default_factory=list)
    otherwise: Rule = Field(default_factory=Rule)

    def rule_for(self, kind: str) -> tuple[int, Rule]:
        """The rule with its index in `rules`; -1: it is `otherwise`."""
        named = ((number, rule) for number, rule in enumerate(self.rules) if kind in rule.errors)
        return next(named, (-1, self.otherwise))


class Attempt(BaseModel):
    """An attempt that failed, and what was decided then. `wait_seconds`: before the next one, for a retry."""

    number: int
    error_type: str = ""
    message: str = ""
    at: datetime | None = None
    action: Action = Action.RETRY
    wait_seconds: float = 0


class Recovery(BaseModel):
    """The state of one step. `total` counts all attempts that failed, `attempts` keeps the last 100.

    `tries`: by the number of a rule, failures since the beginning or since an operator's retry.
    """

    policy: RecoveryPolicy = Field(default_factory=RecoveryPolicy)
    attempts: list[Attempt] = Field(default_factory=list)
    total: int = 0
    tries: dict[int, int] = Field(default_factory=dict)

    def decide(self, failure: Failure, now: datetime) -> Attempt:
        """Keep the attempt, with what is to be done about it.

        A failure that its activity declares non-retryable is not retried, unless a rule names its type.
        """
        number, rule = self.policy.rule_for(failure.type)
        count = self.tries[number] = self.tries.get(number, 0) + 1
        action, wait = rule.action, 0.0
        if action is Action.RETRY:
            used_up = rule.retry.attempts and count >= rule.retry.attempts
            if used_up or (not failure.retryable and number < 0):
                # `then` is no second retry: that would never end
                action = Action.ESCALATE if rule.then is Action.RETRY else rule.then
            else:
                wait = rule.retry.wait(count)
        self.total += 1
        attempt = Attempt(
            number=self.total,
            error_type=failure.type,
            message=failure.message[:MAX_MESSAGE],
            at=now,
            action=action,
            wait_seconds=wait,
        )
        self.attempts = [*self.attempts, attempt][-MAX_KEPT:]
        return attempt

    def begin_again(self) -> None:
        """An operator retries: all retries are there anew; the attempts stay."""
        self.tries = {}


def failure_of(error: BaseException) -> Failure:
    """What an ActivityError, or what was raised instead of it, says of the step."""
    cause = error.cause if isinstance(error, ActivityError) and error.cause else error
    if isinstance(cause, ApplicationError):
        return Failure(
            type=cause.type or type(cause).__name__, message=cause.message, retryable=not cause.non_retryable
        )
    if isinstance(cause, TemporalTimeout):
        return Failure(type=TIMEOUT, message="It did not answer in time; whether it happened is not known.")
    message = cause.message if isinstance(cause, FailureError) else str(cause)
    return Failure(type=type(cause).__name__, message=message)
