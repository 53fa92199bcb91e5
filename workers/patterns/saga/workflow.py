"""SagaWorkflow: a declared list of registered steps, all done or all undone, by a person where need be.

It ends completed, compensated, or compensated by a person, never silently: its result says which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import SAGA_STATE, WAITING_FOR
    from workers.contracts import Decision, SagaState, SagaStatus, Status, Verdict, WaitingFor
    from workers.patterns.decisions import NO_BODY, DecisionLog, DecisionResult, lenient_signal
    from workers.patterns.dynamic.resolve import Resolved
    from workers.patterns.dynamic.switches import activities_of_run
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.saga.cancellation import CancellableForward
    from workers.patterns.saga.plan import INVALID_SAGA, SagaPlan, SagaStep
    from workers.patterns.saga.saga import Options, Saga, SagaResult, StepCall, run_shielded
    from workers.patterns.search_attributes import upsert_changed

WORKFLOW_TYPE = "SagaWorkflow"
_SENTENCES = {
    SagaState.RUNNING: "The steps are being done.",
    SagaState.COMPENSATING: "What was done is being undone.",
    SagaState.STUCK: "It is stuck; an operator must say how to go on.",
}


@workflow.defn(name=WORKFLOW_TYPE)
class SagaWorkflow:
    """Answers get_saga_status, get_status and get_decision; hears cancel, resolve_compensation and resume."""

    @workflow.init
    def __init__(self, plan: SagaPlan) -> None:
        self._plan = plan
        self._outcome = ""
        self._updated_at = workflow.now()
        self._results: dict[str, Any] = {}
        self._resolved: dict[str, Resolved] = {}
        self._book = DecisionLog(chain=workflow.info().first_execution_run_id)
        self._holds = GuardedCalls(plan.rules.held_retry_seconds, self._show)
        self._saga = Saga(
            holds=self._holds,
            changed=self._show,
            options=Options(plan.rules.step_seconds, plan.rules.undo_attempts),
        )
        self._way = CancellableForward[None](
            subject="The saga",
            objection=lambda: (
                "The point of no return has been passed; it can no longer be cancelled."
                if self._saga.committed
                else ""
            ),
        )

    @workflow.run
    async def run(self, plan: SagaPlan) -> SagaResult:
        if problems := plan.problems():
            raise ApplicationError(" ".join(problems), problems, type=INVALID_SAGA, non_retryable=True)
        self._show()
        try:
            await self._way.go(self._forward())
        except (asyncio.CancelledError, Exception) as error:
            return await run_shielded(self._unwind(error))
        self._saga.complete()
        return await run_shielded(self._close("All steps were done."))

    async def _forward(self) -> None:
        self._resolved = await activities_of_run(*self._plan.activities())
        for part in self._plan.parts():
            # from the point of no return on there is only forward, so no cancellation stops what comes then
            work = self._part(part)
            await (run_shielded(work) if self._saga.committed else work)

    async def _part(self, steps: list[SagaStep]) -> None:
        if len(steps) == 1:
            await self._step(steps[0])
        else:
            await self._saga.together(*map(self._step, steps), group=steps[0].group)

    async def _step(self, step: SagaStep) -> None:
        if step.saga is not None:
            nested = await self._saga.nested(
                WORKFLOW_TYPE,
                step.saga,
                name=step.name,
                point_of_no_return=step.point_of_no_return,
                must=self._saga.committed,
            )
            self._results[step.label] = nested.results if nested else None
            return
        before = dict(self._results)
        self._results[step.label] = await self._saga.step(
            self._resolved[step.activity].name,
            lambda key: StepCall(idempotency_key=key, input=step.input, results=before),
            name=step.label,
            undo=self._resolved[step.undo].name if step.undo else "",
            undo_input=step.undo_input,
            undo_retry=step.undo_retry,
            amount=step.amount,
            point_of_no_return=step.point_of_no_return,
            attempts=step.attempts,
            must=self._saga.committed,
            queue=self._resolved[step.activity].queue,
            undo_queue=self._resolved[step.undo].queue if step.undo else "",
        )

    async def _unwind(self, error: BaseException) -> SagaResult:
        """Undo, and end as the error asks: a step that failed is an answer, anything else a failure."""
        outcome = self._told(error)
        await self._saga.compensate(outcome)
        result = await self._close(outcome)
        if is_cancelled_exception(error):
            if self._way.cancelled_by is None:
                raise asyncio.CancelledError
        elif not self._saga.status().steps or not isinstance(error, FailureError):
            cause = getattr(error, "cause", None)
            kind = cause.type if isinstance(cause, ApplicationError) else type(error).__name__
            raise ApplicationError(outcome, type=kind, non_retryable=True)
        return result

    def _told(self, error: BaseException) -> str:
        if is_cancelled_exception(error):
            return self._way.cancelled_by or "Cancellation was requested."
        cause = getattr(error, "cause", None) or error
        return cause.message if isinstance(cause, FailureError) else str(cause)

    async def _close(self, outcome: str) -> SagaResult:
        self._outcome = outcome
        self._show()
        await workflow.wait_condition(workflow.all_handlers_finished)
        completed = self._saga.state is SagaState.COMPLETED
        return SagaResult(
            state=self._saga.state,
            outcome=outcome,
            results=self._results,
            by_hand=self._saga.by_hand(),
            compensations=self._saga.compensations() if completed else [],
        )

    @workflow.signal(name="cancel", description="Stop and undo what was done. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._way.cancel)

    @workflow.signal(name="resolve_compensation", description="Settle what is stuck. Body: a Decision.")
    @lenient_signal
    def resolve_compensation(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._saga.resolve)

    @workflow.signal(name="resume", description="A breaker lets it go on. Body: a Resume.")
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self._holds.resume(raw)

    @workflow.query(name="get_saga_status", description="Steps and compensations.")
    def saga_status(self) -> SagaStatus:
        return self._saga.status()

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._book.get(decision_id)

    @workflow.query(name="get_status", description="Where it is and what happens next.")
    def status(self) -> Status:
        state = self._saga.state
        if state is SagaState.RUNNING and self._way.cancelled_by is not None:
            state = SagaState.COMPENSATING  # a nested saga ends first, but where this goes is settled
        steps = self._saga.status().steps
        held = " and ".join(self._holds.held)
        sentence = f"Held until {held} works again; then it goes on by itself." if held else ""
        return Status(
            status=state,
            stage=steps[-1].name if steps else "",
            updated_at=self._updated_at,
            waiting_for=self._waiting_for(),
            summary=self._outcome or sentence or _SENTENCES.get(state, ""),
        )

    def _decide(self, raw: object, act: Callable[[Decision], DecisionResult]) -> None:
        self._book.judge(raw, workflow.now(), act)

    def _waiting_for(self) -> list[str]:
        operator = [WaitingFor.OPERATOR.value] if self._saga.state is SagaState.STUCK else []
        return [*operator, *self._holds.waiting_for()]

    def _show(self) -> None:
        self._updated_at = workflow.now()
        upsert_changed({SAGA_STATE: self._saga.state.value, WAITING_FOR: self._waiting_for()})
