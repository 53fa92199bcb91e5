"""Recovery: what a failure of an operation asks for, chosen by its type. Pure: it has no clock.

Try again with growing waits, compensate by a child workflow, or call for a person. Every attempt is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from pydantic import Field
from temporalio.exceptions import ActivityError, ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as TemporalTimeout

from workers.patterns.decisions import DecisionLog
from workers.patterns.saga.messages import Message, Retry
from workers.patterns.saga.plan import SagaPlan

TIMEOUT = "Timeout"
INVALID_RECOVERY = "InvalidRecovery"
MOST_KEPT = 100
LONGEST_MESSAGE = 1_000


class Action(StrEnum):
    RETRY = "retry"
    COMPENSATE = "compensate"
    ESCALATE = "escalate"


class Failure(Message):
    """`type`: of the ApplicationError, or Timeout. `retryable`: the activity does not rule out more tries."""

    type: str = ""
    message: str = ""
    retryable: bool = True


class Rule(Message):
    """What to do about failures of these types. Retries that are used up go on to `then`."""

    errors: list[str] = Field(default_factory=list)
    action: Action = Action.RETRY
    retry: Retry = Field(default_factory=lambda: Retry(attempts=5, maximum_seconds=60))
    then: Action = Action.ESCALATE


class RecoveryPolicy(Message):
    """The first rule that names the type counts, else `otherwise`."""

    rules: list[Rule] = Field(default_factory=list)
    otherwise: Rule = Field(default_factory=Rule)

    def rule_for(self, kind: str) -> int:
        """Its index in `rules`; -1: `otherwise`."""
        return next((number for number, rule in enumerate(self.rules) if kind in rule.errors), -1)

    def rule(self, number: int) -> Rule:
        return self.otherwise if number < 0 else self.rules[number]

    def actions(self) -> set[Action]:
        """All that may come of it."""
        every = [*self.rules, self.otherwise]
        return {rule.action for rule in every} | {rule.then for rule in every}


class Attempt(Message):
    """A try that failed, and what was decided then. `wait_seconds`: before the next one, for a retry."""

    number: int
    error_type: str = ""
    message: str = ""
    at: datetime | None = None
    action: Action = Action.RETRY
    wait_seconds: float = 0


class Recovery(Message):
    """The state of one operation. `total` counts all attempts that failed, `attempts` keeps the last 100.

    `tries`: by the number of a rule, failures since the beginning or since an operator had it tried again.
    """

    policy: RecoveryPolicy = Field(default_factory=RecoveryPolicy)
    attempts: list[Attempt] = Field(default_factory=list)
    total: int = 0
    tries: dict[int, int] = Field(default_factory=dict)

    def judge(self, failure: Failure, now: datetime) -> Attempt:
        """Keep the attempt, with what is to be done about it.

        What is said to be in vain is not tried again, unless a rule names its type.
        """
        number = self.policy.rule_for(failure.type)
        rule = self.policy.rule(number)
        count = self.tries[number] = self.tries.get(number, 0) + 1
        action, wait = rule.action, 0.0
        if action is Action.RETRY:
            used_up = rule.retry.attempts and count >= rule.retry.attempts
            in_vain = not failure.retryable and number < 0
            if used_up or in_vain:
                # `then` is no second retry: that would never end
                action = Action.ESCALATE if rule.then is Action.RETRY else rule.then
            else:
                wait = rule.retry.wait(count)
        self.total += 1
        attempt = Attempt(
            number=self.total,
            error_type=failure.type,
            message=failure.message[:LONGEST_MESSAGE],
            at=now,
            action=action,
            wait_seconds=wait,
        )
        self.attempts = [*self.attempts, attempt][-MOST_KEPT:]
        return attempt

    def begin_again(self) -> None:
        """An operator has it tried again: all retries are there anew; what was kept stays."""
        self.tries = {}


class Undoing(Message):
    """What undoes the operation: a `saga`, or a registered `workflow` that takes an UndoCall with `input`."""

    saga: SagaPlan | None = None
    workflow: str = ""
    input: object = None


class RecoveryRules(Message):
    """`step_seconds`: one try. `held_retry_seconds`: how long a held operation waits before it tries again
    unasked. `most_events`: of one run's history, before it continues as new."""

    step_seconds: float = Field(30, gt=0)
    held_retry_seconds: float = Field(60, gt=0)
    most_events: int = Field(5_000, ge=50)


class Carried(Message):
    """What a run of the chain hands on to the next one. `activity` and `queue`: what the name means.
    `revision` and `input`: as an operator edited them; `touched`: it may have happened; `runs`: tries."""

    recovery: Recovery
    book: DecisionLog
    activity: str
    queue: str
    undo_queue: str = ""
    revision: int = 1
    input: object = None
    touched: bool = False
    runs: int = 0


class RecoveryPlan(Message):
    """The argument of RecoveryWorkflow: a registered activity, which takes a StepCall with `input`."""

    activity: str = ""
    input: object = None
    policy: RecoveryPolicy = Field(default_factory=RecoveryPolicy)
    undoing: Undoing | None = None
    rules: RecoveryRules = Field(default_factory=RecoveryRules)
    carried: Carried | None = None

    def problems(self) -> list[str]:
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        if not self.activity:
            yield "A recovery needs the name of an activity."
        if self.undoing is None:
            if Action.COMPENSATE in self.policy.actions():
                yield "A rule compensates, but nothing is declared that undoes the operation."
            return
        if bool(self.undoing.workflow) == (self.undoing.saga is not None):
            yield "What undoes the operation is either a saga or a workflow."
        if self.undoing.saga is not None:
            yield from self.undoing.saga.problems()


class RecoveryResult(Message):
    """How it ended: `end` is done, compensated, skip or settled_outside (by a person) or cancelled.
    `result`: the activity's answer. `total` attempts failed, the last 100 of them in `attempts`."""

    end: str = ""
    outcome: str = ""
    result: object = None
    total: int = 0
    attempts: list[Attempt] = Field(default_factory=list)


def failure_of(error: BaseException) -> Failure:
    """What an ActivityError, or what is raised in its stead, says of the operation."""
    cause = error.cause if isinstance(error, ActivityError) and error.cause else error
    if isinstance(cause, ApplicationError):
        return Failure(
            type=cause.type or type(cause).__name__, message=cause.message, retryable=not cause.non_retryable
        )
    if isinstance(cause, TemporalTimeout):
        return Failure(type=TIMEOUT, message="It did not answer in time; whether it happened is not known.")
    message = cause.message if isinstance(cause, FailureError) else str(cause)
    return Failure(type=type(cause).__name__, message=message)
