"""RecoveryWorkflow: one operation that is tried again, undone by a child workflow, or handed to a person.

Which of the three, the type of each failure decides; every attempt is kept, and nothing ends silently.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from workers.contracts import CompensationStatus, SagaState, StepState
    from workers.patterns.dynamic.switches import activities_of_run, queue_of_run
    from workers.patterns.recovery.handlers import RecoveryHandlers
    from workers.patterns.recovery.recovery import (
        INVALID_RECOVERY,
        Action,
        Attempt,
        Carried,
        Failure,
        RecoveryPlan,
        RecoveryResult,
        failure_of,
    )
    from workers.patterns.saga.compensation import settled
    from workers.patterns.saga.ledger import numbered
    from workers.patterns.saga.saga import SagaResult, StepCall, UndoCall, run_shielded
    from workers.patterns.saga.steps import run_step
    from workers.patterns.saga.workflow import WORKFLOW_TYPE as SAGA_TYPE

WORKFLOW_TYPE = "RecoveryWorkflow"
DONE, AGAIN, COMPENSATED, CANCELLED = "done", "again", "compensated", "cancelled"


@workflow.defn(name=WORKFLOW_TYPE)
class RecoveryWorkflow(RecoveryHandlers):
    """What is told of it, and what people say, is in RecoveryHandlers."""

    @workflow.init
    def __init__(self, plan: RecoveryPlan) -> None:
        super().__init__(plan)

    @workflow.run
    async def run(self, plan: RecoveryPlan) -> RecoveryResult:
        if problems := plan.problems():
            raise ApplicationError(" ".join(problems), problems, type=INVALID_RECOVERY, non_retryable=True)
        self._show()
        try:
            end = await self._way.go(self._forward())
        except (asyncio.CancelledError, Exception) as error:
            return await run_shielded(self._stopped(error))
        return await run_shielded(self._ended(end))

    async def _forward(self) -> str:
        """Until it is done or given up. Returns the end, or `again` for another run of the chain."""
        if self._activity is None:
            self._activity = (await activities_of_run(self._plan.activity))[self._plan.activity]
            if self._plan.undoing and self._plan.undoing.workflow:
                self._undo_queue = await queue_of_run(self._plan.undoing.workflow)
        while True:
            failure = await self._attempt()
            if failure is None:
                return DONE
            attempt = self._recovery.judge(failure, workflow.now())
            if attempt.action is Action.COMPENSATE:
                self._outcome = f"{attempt.error_type}: {attempt.message}"
                return COMPENSATED
            if attempt.action is Action.ESCALATE:
                choice = await self._escalated(attempt)
                if choice != "retry":
                    return choice
            else:
                await workflow.sleep(attempt.wait_seconds, summary=f"try {self._plan.activity} again")
            if self._full():
                return AGAIN

    async def _attempt(self) -> Failure | None:
        """One try, held while a breaker refuses it: that is no attempt."""
        assert self._activity is not None
        try:
            self._result = await run_step(
                self._entry,
                self._ledger,
                self._holds,
                activity=self._activity.name,
                argument=StepCall(idempotency_key=self._entry.status.idempotency_key, input=self._input),
                result=None,
                attempts=1,
                seconds=self._plan.rules.step_seconds,
                queue=self._activity.queue,
            )
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            return failure_of(error)
        return None

    async def _escalated(self, attempt: Attempt) -> str:
        """Call a person and wait for the choice; after `retry` all is ready for another round."""
        entry = self._entry
        entry.status.status = StepState.STUCK
        detail = f"{attempt.error_type}: {attempt.message}"
        choice = await self._operator.choice(entry, "An operation needs a person", detail)
        self._ledger.go(SagaState.RUNNING)
        if choice != "retry":
            entry.status.status = settled(choice)
            return choice
        if entry.edited is not None:  # another input is another effect, so it has another key
            self._edit(entry.edited)
        entry.status.status = StepState.PENDING
        self._recovery.begin_again()
        return choice

    async def _stopped(self, error: BaseException) -> RecoveryResult:
        """It was cancelled, or it cannot run at all."""
        if not is_cancelled_exception(error):
            cause = error.cause if isinstance(error, ActivityError) and error.cause else error
            kind = cause.type if isinstance(cause, ApplicationError) else type(cause).__name__
            message = cause.message if isinstance(cause, FailureError) else str(cause)
            raise ApplicationError(message, type=kind, non_retryable=True)
        self._outcome = self._way.cancelled_by or "Cancellation was requested."
        if self._entry.maybe:
            await self._undo()
        result = await self._close(CANCELLED, SagaState.COMPENSATED)
        if self._way.cancelled_by is None:
            raise asyncio.CancelledError
        return result

    async def _ended(self, end: str) -> RecoveryResult:
        if end == AGAIN:
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(self._plan.model_copy(update={"carried": self._carried()}))
        if end == COMPENSATED:
            await self._undo()
            return await self._close(end, SagaState.COMPENSATED)
        self._outcome = "It was done." if end == DONE else f"A person settled it: {end.replace('_', ' ')}."
        return await self._close(end, SagaState.COMPLETED)

    async def _undo(self) -> None:
        """Run what undoes it, as often as an operator says."""
        entry = self._entry
        if entry.status.compensation is None:
            entry.by_hand = True
            entry.status.compensation = CompensationStatus(name="settle_by_hand")
        self._ledger.unwinding = True
        self._ledger.go(SagaState.COMPENSATING)
        while True:
            entry.undo_starts()
            entry.undo.activity_id = ""  # it is no activity
            if not (problem := await self._undone()):
                entry.undo.status = StepState.DONE
                return
            entry.undo.status, entry.undo.error = StepState.STUCK, problem
            choice = await self._operator.choice(entry, "A compensation failed for good", problem)
            self._ledger.go(SagaState.COMPENSATING)
            if choice != "retry":
                entry.undo.status = settled(choice)
                return

    async def _undone(self) -> str:
        """The child workflow that undoes it; what went wrong, or ""."""
        undoing, entry = self._plan.undoing, self._entry
        if undoing is None:
            return "It may have happened, and nothing is declared that undoes it."
        argument: Any = undoing.saga or UndoCall(
            idempotency_key=entry.status.idempotency_key,
            undo_key=entry.undo_key,
            reason=self._outcome,
            input=undoing.input if entry.edited is None else entry.edited,
            result=self._result,
        )
        suffix = numbered("undo", entry.undo_runs).replace("#", "-")
        entry.status.child_workflow_id = f"{workflow.info().workflow_id}-{suffix}"
        try:
            ended = await workflow.execute_child_workflow(
                undoing.workflow or SAGA_TYPE,
                argument,
                id=entry.status.child_workflow_id,
                task_queue=self._undo_queue or None,
                result_type=SagaResult if undoing.saga else None,
                parent_close_policy=ParentClosePolicy.ABANDON,
            )
        except FailureError as error:
            return str(error.cause or error)
        if isinstance(ended, SagaResult) and ended.state is not SagaState.COMPLETED:
            return f"The compensation was undone itself: {ended.outcome}"
        return ""

    async def _close(self, end: str, state: SagaState) -> RecoveryResult:
        self._end = end
        self._ledger.go(state)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RecoveryResult(
            end=end,
            outcome=self._outcome,
            result=self._result,
            total=self._recovery.total,
            attempts=self._recovery.attempts,
        )

    def _full(self) -> bool:
        info = workflow.info()
        most = self._plan.rules.most_events
        return info.is_continue_as_new_suggested() or info.get_current_history_length() > most

    def _carried(self) -> Carried:
        assert self._activity is not None
        return Carried(
            recovery=self._recovery,
            book=self._book,
            activity=self._activity.name,
            queue=self._activity.queue,
            undo_queue=self._undo_queue,
            revision=self._entry.revision,
            input=self._input,
            touched=self._entry.touched,
            runs=self._entry.runs,
        )
