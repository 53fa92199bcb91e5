"""SagaWorkflow: a declared list of registered activities, all done or all undone, at worst by an operator."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from pydantic_core import to_json

    from workers.contracts import SagaState, Status
    from workers.patterns.dynamic.messages import Resolved
    from workers.patterns.dynamic.switches import activities_of_run
    from workers.patterns.saga.handlers import SagaHandlers
    from workers.patterns.saga.messages import Retry, SagaResult, StepCall
    from workers.patterns.saga.plan import INVALID_SAGA, MAX_RESULTS_BYTES, SagaPlan, SagaStep
    from workers.patterns.saga.steps import ActivityOptions
    from workers.shielding import run_shielded

WORKFLOW_TYPE = "SagaWorkflow"
RESULT_TOO_LARGE = "ResultTooLarge"
_SENTENCES = {
    SagaState.RUNNING: "The steps are being done.",
    SagaState.COMPENSATING: "What was done is being undone.",
    SagaState.STUCK: "It is stuck; an operator must decide how to go on.",
}


@workflow.defn(name=WORKFLOW_TYPE)
class SagaWorkflow(SagaHandlers):
    """Answers get_status and get_state besides what SagaHandlers answers."""

    @workflow.init
    def __init__(self, plan: SagaPlan) -> None:
        timeout = ActivityOptions(start_to_close_timeout=timedelta(seconds=plan.rules.step_seconds))
        undo_retry = Retry(attempts=plan.rules.undo_attempts)
        super().__init__(
            held_retry=timedelta(seconds=plan.rules.held_retry_seconds),
            forward=timeout,
            undo={**timeout, "retry_policy": undo_retry.policy()},
        )
        self._plan = plan
        self._outcome = ""
        self._results: dict[str, Any] = {}
        self._results_bytes = 0
        self._resolved: dict[str, Resolved] = {}

    @workflow.run
    async def run(self, plan: SagaPlan) -> SagaResult:
        if problems := plan.problems():
            raise ApplicationError(" ".join(problems), problems, type=INVALID_SAGA, non_retryable=True)
        self.show()
        try:
            await self.saga.run(self._steps())
        except (asyncio.CancelledError, FailureError) as error:
            return await run_shielded(self._compensated(error))
        self.saga.complete()
        return await run_shielded(self._close("All steps were done."))

    async def _steps(self) -> None:
        self._resolved = await activities_of_run(*self._plan.activities())
        for part in self._plan.parts():
            # from the point of no return on there is only forward, so no cancellation stops what comes then
            work = self._part(part)
            await (run_shielded(work) if self.saga.committed else work)

    async def _part(self, steps: list[SagaStep]) -> None:
        if len(steps) == 1:
            await self._step(steps[0])
        else:
            await self.saga.together(*map(self._step, steps), group=steps[0].group)

    async def _step(self, step: SagaStep) -> None:
        if step.saga is not None:
            nested = await self.saga.nested(
                WORKFLOW_TYPE,
                step.saga,
                name=step.name,
                point_of_no_return=step.point_of_no_return,
                required=self.saga.committed,
            )
            self._keep(step, nested.results if nested else None)
            return
        results = {name: self._results[name] for name in step.needs}
        activity, undo = self._resolved[step.activity], self._resolved.get(step.undo)
        options: ActivityOptions = {"task_queue": activity.queue}
        if step.attempts:
            retry = Retry(attempts=step.attempts, initial_seconds=0.5, maximum_seconds=10)
            options["retry_policy"] = retry.policy()
        result = await self.saga.step(
            activity.name,
            lambda key: StepCall(idempotency_key=key, input=step.input, results=results),
            make_edited=lambda key, given: StepCall(idempotency_key=key, input=given, results=results),
            name=step.label,
            undo=undo.name if undo else "",
            undo_input=step.undo_input,
            undo_retry=step.undo_retry,
            undo_task_queue=undo.queue if undo else "",
            undo_after=step.undo_after,
            amount=step.amount,
            point_of_no_return=step.point_of_no_return,
            required=self.saga.committed,
            recovery=step.recovery,
            **options,
        )
        self._keep(step, result)

    def _keep(self, step: SagaStep, result: Any) -> None:
        """Keep a result for the steps that need it and for the end. Raises ApplicationError: it is too
        large."""
        size = len(to_json(result))
        self._results_bytes += size
        if size > self._plan.rules.max_result_bytes or self._results_bytes > MAX_RESULTS_BYTES:
            why = f"The result of {step.label} is too large for the history ({size:,} bytes)."
            if not self.saga.committed:
                raise ApplicationError(why, type=RESULT_TOO_LARGE, non_retryable=True)
            workflow.logger.warning("%s It is dropped.", why)
            result, self._results_bytes = None, self._results_bytes - size
        self._results[step.label] = result

    async def _compensated(self, error: BaseException) -> SagaResult:
        """Compensate, and end as the error asks: a step that failed is a result, what never began a
        failure."""
        outcome = self.reason_of(error)
        await self.saga.compensate(outcome)
        result = await self._close(outcome)
        if is_cancelled_exception(error):
            if self.saga.cancelled_by is None:
                raise asyncio.CancelledError
        elif not self.saga.status().steps:
            cause = getattr(error, "cause", None)
            kind = cause.type if isinstance(cause, ApplicationError) else type(error).__name__
            raise ApplicationError(outcome, type=kind, non_retryable=True)
        return result

    async def _close(self, outcome: str) -> SagaResult:
        self._outcome = outcome
        await self.finish()
        return self.saga.result(outcome, self._results)

    @workflow.query(name="get_status", description="Where it is and what happens next.")
    def get_status(self) -> Status:
        state = self.saga.state
        if state is SagaState.RUNNING and self.saga.cancelled_by is not None:
            state = SagaState.COMPENSATING  # the running step ends first, but what follows is decided
        steps, held = self.saga.status().steps, " and ".join(self.calls.held)
        sentence = f"Held until {held} works again; then it goes on by itself." if held else ""
        return Status(
            status=state,
            stage=steps[-1].name if steps else "",
            updated_at=self.updated_at,
            waiting_for=self.waiting_for(),
            summary=self._outcome or sentence or _SENTENCES.get(state, ""),
        )

    @workflow.query(name="get_state", description="Failed attempts of steps with a recovery policy.")
    def get_state(self) -> dict[str, Any]:
        return {"subject": self._plan.subject, "attempts": self.saga.attempts()}
