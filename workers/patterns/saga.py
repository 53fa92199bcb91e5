"""Saga: steps forward, each with what undoes it, and the way back.

A compensation is registered before its step runs; step and undo have keys of their own; the way back runs in
a task that no cancellation reaches; what cannot be undone waits for an operator. See docs/patterns.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from workers.contracts import (
    CompensationStatus,
    Decision,
    Money,
    Outcome,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from workers.patterns.breaker import CIRCUIT_OPEN, current_lease
from workers.patterns.decisions import Judgement
from workers.patterns.holds import Holds

R = TypeVar("R")

MakeInput = Callable[[str], Any]
"""Step key -> the activity's argument."""
MakeUndo = Callable[[str, str, str, dict[str, Any] | None], Any]
"""Step key, undo key, reason, input that an operator edited -> the undo's argument."""

CHOICES = ("retry", "skip", "settled_outside")


@dataclass
class Options:
    """`step_seconds`: one try of a step or an undo. `undo_attempts`: tries before an undo is stuck."""

    step_seconds: float = 10
    undo_attempts: int = 8


@dataclass
class _Step:
    status: StepStatus
    label: str
    touched: bool = False  # it may have reached the outside
    runs: int = 0
    revision: int = 1
    undo_runs: int = 0
    edited: dict[str, Any] | None = None
    choice: str = field(default="")


class Saga:
    """`changed` is called whenever `state` is another; the workflow then upserts SagaState."""

    def __init__(
        self, *, undo_input: MakeUndo, holds: Holds, changed: Callable[[], None], options: Options
    ) -> None:
        self.state = SagaState.RUNNING
        self._undo_input = undo_input
        self._holds = holds
        self._changed = changed
        self._options = options
        self._steps: list[_Step] = []

    @property
    def committed(self) -> bool:
        """The point of no return is behind us."""
        return any(s.status.point_of_no_return and s.status.status == StepState.DONE for s in self._steps)

    def status(self) -> SagaStatus:
        return SagaStatus(state=self.state, steps=[step.status for step in self._steps])

    async def step(
        self,
        activity: str,
        make: MakeInput,
        result: type[R],
        *,
        undo: str = "",
        amount: Money | None = None,
        point_of_no_return: bool = False,
        attempts: int = 0,
    ) -> R:
        """Run one step, held while a breaker refuses it. Raises ActivityError. `attempts` 0: no limit."""
        step = self._register(activity, undo, amount, point_of_no_return)
        lease = ""
        while True:
            try:
                return await self._run(step, make, result, attempts, lease)
            except ActivityError as error:
                held_at = self._judge(step, error)
                if not held_at:
                    raise
            lease = await self._hold(step, held_at)

    async def compensate(self, reason: str) -> None:
        """Undo what may have happened, last first. Returns when all is undone or settled by an operator."""
        backwards = [step for step in reversed(self._steps) if step.touched and step.status.compensation]
        if backwards:
            self._go(SagaState.COMPENSATING)
        for step in backwards:
            while not await self._undone(step, reason):
                self._go(SagaState.STUCK)
                await workflow.wait_condition(lambda step=step: bool(step.choice))  # type: ignore[misc]
                self._go(SagaState.COMPENSATING)
                if self._settled(step):
                    break
        self._go(SagaState.COMPENSATED)

    def complete(self) -> None:
        """All steps forward are done. The workflow upserts with its last stage, so nobody is told here."""
        self.state = SagaState.COMPLETED

    def resolve(self, decision: Decision) -> Judgement:
        """An operator's word on a stuck compensation: retry (with edited input), skip or settled_outside."""
        stuck = [s for s in self._steps if s.status.compensation and _undo(s).status == StepState.STUCK]
        step = next((s for s in stuck if decision.step in ("", s.status.name, _undo(s).name)), None)
        if step is None or step.choice:
            return Outcome.REFUSED, "No compensation of that step is stuck.", ""
        if decision.choice not in CHOICES:
            return Outcome.REFUSED, f"The choice must be one of {', '.join(CHOICES)}.", ""
        if decision.choice != "retry" and not decision.evidence.strip():
            return Outcome.REFUSED, f"To choose {decision.choice}, say what shows that it is right.", ""
        step.choice = decision.choice
        if decision.choice == "retry" and decision.input is not None:
            step.edited = decision.input
            step.revision += 1  # another input is another effect, so it needs another key
        return Outcome.APPLIED, f"{_undo(step).name}: {decision.choice.replace('_', ' ')}.", ""

    def _register(self, activity: str, undo: str, amount: Money | None, final: bool) -> _Step:
        occurrence = 1 + sum(1 for step in self._steps if step.status.name == activity)
        first_run = (
            workflow.info().first_execution_run_id
        )  # a later run of the chain must find the same effect
        step = _Step(
            StepStatus(
                name=activity,
                amount=amount,
                idempotency_key=f"{first_run}/{activity}/{occurrence}",
                point_of_no_return=final,
                compensation=CompensationStatus(name=undo) if undo else None,
            ),
            label=activity if occurrence == 1 else f"{activity}/{occurrence}",
        )
        self._steps.append(step)
        return step

    async def _run(self, step: _Step, make: MakeInput, result: type[R], attempts: int, lease: str) -> R:
        status = step.status
        step.runs += 1
        status.activity_id = _numbered(step.label, step.runs)
        status.status, status.error = StepState.RUNNING, None
        token = current_lease.set(lease)
        try:
            running = workflow.start_activity(
                status.name,
                make(status.idempotency_key),
                result_type=result,
                activity_id=status.activity_id,
                summary=status.name.replace("_", " "),
                start_to_close_timeout=timedelta(seconds=self._options.step_seconds),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=0.5),
                    maximum_interval=timedelta(seconds=10),
                    maximum_attempts=attempts,
                ),
            )
        finally:
            current_lease.reset(token)
        try:
            answer: R = await running
        except asyncio.CancelledError:
            self._unknown(step, "Cancelled while it ran.")
            raise
        status.status, step.touched = StepState.DONE, True
        return answer

    def _judge(self, step: _Step, error: ActivityError) -> str:
        """What a failure says about the outside. Returns the dependency whose breaker refused, or ""."""
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == CIRCUIT_OPEN and len(cause.details) == 2:
            dependency, attempt = cause.details
            step.touched = step.touched or attempt > 1  # the first try was refused: nothing left this house
            step.status.status = StepState.UNKNOWN if step.touched else StepState.PENDING
            return str(dependency)
        if isinstance(cause, ApplicationError) and cause.non_retryable:
            step.status.status, step.status.error = StepState.FAILED, cause.message
            step.touched = False  # the gateway answers by key: its refusal says that nothing happened
        else:
            self._unknown(step, str(cause or error))
        return ""

    def _unknown(self, step: _Step, why: str) -> None:
        step.touched = True
        step.status.status, step.status.error = StepState.UNKNOWN, why

    async def _hold(self, step: _Step, dependency: str) -> str:
        step.status.error = f"Held: the breaker of {dependency} is open."
        return await self._holds.wait(dependency)

    async def _undone(self, step: _Step, reason: str) -> bool:
        undo, key = _undo(step), step.status.idempotency_key
        step.choice, step.undo_runs = "", step.undo_runs + 1
        undo.activity_id = _numbered(f"{step.label}/undo", step.undo_runs)
        undo.status, undo.error = StepState.RUNNING, None
        try:
            await workflow.execute_activity(
                undo.name,
                self._undo_input(key, f"{key}/undo/{step.revision}", reason, step.edited),
                activity_id=undo.activity_id,
                summary=undo.name.replace("_", " "),
                start_to_close_timeout=timedelta(seconds=self._options.step_seconds),
                retry_policy=RetryPolicy(
                    maximum_interval=timedelta(seconds=15), maximum_attempts=self._options.undo_attempts
                ),
            )
        except ActivityError as error:
            undo.status, undo.error = StepState.STUCK, str(error.cause or error)
            return False
        undo.status = StepState.DONE
        return True

    def _settled(self, step: _Step) -> bool:
        if step.choice == "retry":
            return False
        _undo(step).status = StepState.SKIPPED if step.choice == "skip" else StepState.SETTLED
        return True

    def _go(self, state: SagaState) -> None:
        if self.state is not state:
            self.state = state
            self._changed()


async def uninterrupted(work: Coroutine[Any, Any, R]) -> R:
    """Await `work` in a task of its own, again after every cancellation, of which each is delivered once."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()


def _undo(step: _Step) -> CompensationStatus:
    assert step.status.compensation is not None
    return step.status.compensation


def _numbered(name: str, run: int) -> str:
    return name if run == 1 else f"{name}#{run}"
