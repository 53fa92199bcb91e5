"""CircuitBreakerWorkflow: one operation behind a breaker of its own, tried until it works or opens too often.

The classic pattern (M. Nygard, "Release It!") around a single call, with the shared breaker's machine. What
many workflows call belongs behind the shared breaker instead, which learns from all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import CIRCUIT_STATE
    from workers.contracts import CircuitState, Decision, Outcome
    from workers.patterns.breaker.config import Report
    from workers.patterns.breaker.handlers import BreakerHandlers, refuses_probe
    from workers.patterns.decisions import NO_BODY, DecisionResult, lenient_signal
    from workers.patterns.dynamic.messages import Resolved
    from workers.patterns.dynamic.switches import activity_of_run
    from workers.patterns.handlers import HoldHandlers
    from workers.patterns.search_attributes import upsert_changed
    from workers.patterns.single_operation.messages import CircuitOperation

OPENED_TOO_OFTEN = "OperationUnavailable"
CANCELLED = "OperationCancelled"
MAX_PAUSE_SECONDS = 60.0


@workflow.defn
class CircuitBreakerWorkflow(BreakerHandlers, HoldHandlers):
    """Ends with the activity's result or its refusal, with OperationUnavailable or OperationCancelled."""

    @workflow.init
    def __init__(self, operation: CircuitOperation) -> None:
        super().__init__(operation, held_retry=timedelta(seconds=operation.open_seconds))
        self._operation = operation.model_copy(update={"machine": self._machine, "decisions": self.decisions})
        self._try: asyncio.Task[Any] | None = None
        self._wake = False
        self._cancelled: Decision | None = None

    @workflow.run
    async def run(self, operation: CircuitOperation) -> Any:
        operation = self._operation
        operation.resolved = operation.resolved or await activity_of_run(operation.activity)
        upsert_changed({CIRCUIT_STATE: self._machine.state.value})
        self._end_if_cancelled()
        while True:
            if self._machine.state is CircuitState.OPEN:
                await self._wait()
            else:
                done, result = await self._try_once(operation.resolved)
                if done:
                    return result
            self._end_if_cancelled()
            self._machine.tick(workflow.now())
            self._moved()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(operation)

    async def _try_once(self, resolved: Resolved) -> tuple[bool, Any]:
        """Returns whether that was the last try, and its result. Raises the operation's own refusal."""
        machine, lease, epoch = self._machine, "", self._machine.epoch
        self._operation.tries += 1
        if machine.state is CircuitState.HALF_OPEN:
            lease = str(self._operation.tries)
            machine.grant_lease(lease, workflow.now())
        try:
            result = await self._call(resolved)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            return False, None
        except ActivityError as error:
            cause = error.cause
            if is_cancelled_exception(error):
                raise
            if isinstance(cause, ApplicationError) and cause.non_retryable:
                raise ApplicationError(
                    cause.message, *cause.details, type=cause.type, non_retryable=True
                ) from error
            self._report(epoch, lease, failure=str(cause or error))
            self._fail_if_opened_too_often(str(cause or error))
            if machine.state is CircuitState.CLOSED:
                await self._wait(self._pause_until())
            return False, None
        self._report(epoch, lease)
        return True, result

    async def _call(self, resolved: Resolved) -> Any:
        """One try; a refusal by the shared breaker of its dependency is none, it only waits."""
        operation = self._operation
        self._try = asyncio.create_task(
            self.calls.call(
                resolved.name,
                *resolved.arguments(operation.input),
                idempotency_key=workflow.info().first_execution_run_id,  # the same operation in each try
                task_queue=resolved.queue,
                summary=f"try {operation.tries}",
                start_to_close_timeout=timedelta(seconds=operation.try_seconds),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        )
        return await self._try

    def _report(self, epoch: int, lease: str, *, failure: str = "") -> None:
        """Report the try to the machine, as a process would report to the shared breaker."""
        failed = bool(failure)
        report = Report(
            process="self",
            seq=self._operation.tries,
            epoch=epoch,
            calls=1,
            failures=failed,
            tail=failed,
            last_error=failure,
            lease=lease,
            healthy=not failed,
        )
        self._machine.report(report, workflow.now())
        opened = self._machine.state is CircuitState.OPEN and self._machine.epoch != epoch
        self._operation.openings += opened and not self._machine.forced
        self._moved()

    def _fail_if_opened_too_often(self, failure: str) -> None:
        operation = self._operation
        if operation.openings >= operation.max_openings and not self._machine.forced:
            what = f"{operation.activity} opened its breaker {operation.openings} times"
            message = f"{what} in {operation.tries} tries, the last with: {failure}"
            raise ApplicationError(message, type=OPENED_TOO_OFTEN, non_retryable=True)

    def _pause_until(self) -> datetime:
        doublings = min(max(0, self._machine.failure_count - 1), 10)
        seconds = min(self._operation.pause_seconds * 2**doublings, MAX_PAUSE_SECONDS)
        return workflow.now() + timedelta(seconds=seconds)

    async def _wait(self, until: datetime | None = None) -> None:
        """Durably, until then, or until the machine is due, or a decision."""
        machine, epoch = self._machine, self._machine.epoch
        ends = min(filter(None, (until, machine.due)), default=None)
        timeout = max(timedelta(), ends - workflow.now()) if ends else None
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: machine.epoch != epoch or self._wake,
                timeout=timeout,
                timeout_summary=f"{machine.state}",
            )
        self._wake = False

    def _end_if_cancelled(self) -> None:
        if self._cancelled:
            by, why = self._cancelled.actor or "an unnamed actor", self._cancelled.reason
            raise ApplicationError(f"Cancelled by {by}: {why}", type=CANCELLED, non_retryable=True)

    def _release_held(self) -> None:
        self._wake = True

    @workflow.signal(name="cancel", description="Try no more. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._cancel)

    @workflow.signal(name="probe", description="Try now instead of waiting. Body: a Decision.")
    @lenient_signal
    def probe(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._probe)

    def _cancel(self, decision: Decision) -> DecisionResult:
        if self._cancelled:
            by = self._cancelled.actor
            return Outcome.ALREADY_DECIDED, f"Already cancelled by {by}.", by
        self._cancelled, self._wake = decision, True
        if self._try is not None and self.calls.held:
            self._try.cancel()
        return Outcome.APPLIED, "It is not tried again.", ""

    def _probe(self, decision: Decision) -> DecisionResult:
        if problem := refuses_probe(self._machine, decision):
            return Outcome.REFUSED, problem, ""
        self._half_open(decision)
        return Outcome.APPLIED, "It is tried now.", ""
