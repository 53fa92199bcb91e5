"""What sagas exchange with activities and with each other, as pydantic models.

The convention for activities that a declared saga runs: a step takes one StepCall, an undo takes one
UndoCall, and a step's answer is any JSON. Code with messages of its own gives `Saga` makers of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field
from temporalio.common import RetryPolicy

from workers.contracts import Money, SagaState


class Retry(BaseModel):
    """How often something is tried, and how the waits between grow. `attempts` 0: no limit."""

    attempts: int = Field(8, ge=0)
    initial_seconds: float = Field(1, gt=0)
    backoff: float = Field(2, ge=1)
    maximum_seconds: float = Field(15, gt=0)

    def policy(self) -> RetryPolicy:
        return RetryPolicy(
            initial_interval=timedelta(seconds=self.initial_seconds),
            backoff_coefficient=self.backoff,
            maximum_interval=timedelta(seconds=max(self.initial_seconds, self.maximum_seconds)),
            maximum_attempts=self.attempts,
        )

    def wait(self, attempt: int) -> float:
        """Seconds to wait after try number `attempt`, which counts from 1."""
        doublings = min(attempt - 1, 64)  # a float has an end
        return float(min(self.initial_seconds * self.backoff**doublings, self.maximum_seconds))


class StepCall(BaseModel):
    """The argument of a step. The effect happens at most once for each `idempotency_key`.

    `input`: as declared. `results`: what the steps that it needs answered, by their names.
    """

    idempotency_key: str
    input: Any = None
    results: dict[str, Any] = Field(default_factory=dict)


class UndoCall(BaseModel):
    """The argument of an undo.

    `idempotency_key` is the step's: what it did is undone, and a tombstone under it refuses the effect from
    then on, as a timed-out one may arrive late. `undo_key` makes the undo itself happen at most once.
    `input`: as declared, or what an operator edited. `result`: the step's answer; None when it is not known.
    """

    idempotency_key: str
    undo_key: str
    reason: str = ""
    input: Any = None
    result: Any = None


class Compensation(BaseModel):
    """What would undo one step of a saga that has completed, as data for the saga around it.

    `queue`: whose workers run `undo`; empty: those of the workflow that asks.
    """

    step: str
    undo: str
    idempotency_key: str
    input: Any = None
    result: Any = None
    amount: Money | None = None
    queue: str = ""
    retry: Retry | None = None
    child_workflow_id: str = ""


class SagaResult(BaseModel):
    """How a saga ended: `state` is completed or compensated, `outcome` a sentence for people.

    `results`: what the steps answered, by their names. `by_hand`: steps that an operator settled instead of
    their compensation. Completed: `committed` says that it passed a point of no return, `committed_amounts`
    what it did for good, a sum for each currency, and `compensations` what would undo the rest, in the
    order of the steps."""

    state: SagaState = SagaState.COMPLETED
    outcome: str = ""
    results: dict[str, Any] = Field(default_factory=dict)
    by_hand: list[str] = Field(default_factory=list)
    committed: bool = False
    committed_amounts: list[Money] = Field(default_factory=list)
    compensations: list[Compensation] = Field(default_factory=list)
