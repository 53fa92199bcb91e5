"""CircuitBreakerWorkflow: one operation behind a breaker of its own, tried until it works or opens too often.

The classic pattern (M. Nygard, "Release It!") around a single call, with the shared breaker's machine. What
many workflows call belongs behind the shared breaker instead, which learns from all of them.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import CIRCUIT_STATE
    from workers.contracts import CircuitState, Decision, Outcome
    from workers.patterns.breaker.actions import refuses_probe
    from workers.patterns.breaker.config import BreakerConfig, Report
    from workers.patterns.breaker.handlers import BreakerActs
    from workers.patterns.breaker.machine import Machine
    from workers.patterns.breaker.names import CIRCUIT_OPEN
    from workers.patterns.decisions import NO_BODY, DecisionLog, lenient_signal
    from workers.patterns.dynamic.resolve import Resolved
    from workers.patterns.dynamic.switches import activities_of_run
    from workers.patterns.search_attributes import upsert_changed

OPENED_TOO_OFTEN = "OperationUnavailable"
CANCELLED = "OperationCancelled"
LONGEST_PAUSE_SECONDS = 60.0


class CircuitOperation(BreakerConfig):
    """The registered activity to run, with its argument as plain JSON, and when to give up.

    A try takes `try_seconds` at most; while CLOSED the tries are `pause_seconds` apart, doubling up to a
    minute. After `max_openings` it fails. `machine`, `book`, `tries` and `resolved`: of an earlier run.
    """

    dependency: str = Field("operation", pattern=r"^[a-z0-9_-]{1,60}$")
    activity: str = ""
    input: Any = None
    try_seconds: float = Field(30, gt=0)
    pause_seconds: float = Field(1, gt=0)
    max_openings: int = Field(10, ge=1)
    machine: Machine | None = None
    book: DecisionLog = Field(default_factory=DecisionLog)
    tries: int = 0
    openings: int = 0
    resolved: Resolved | None = None


@workflow.defn
class CircuitBreakerWorkflow(BreakerActs):
    """Ends with the activity's result, with its refusal, or with OperationUnavailable."""

    @workflow.init
    def __init__(self, operation: CircuitOperation) -> None:
        config = BreakerConfig.model_validate(operation.model_dump(include=set(BreakerConfig.model_fields)))
        self._machine = operation.machine or Machine(config=config)
        self._book = operation.book
        self._tries = operation.tries
        self._openings = operation.openings
        self._updated_at = workflow.now()
        self._nudged = False
        self._cancelled: Decision | None = None

    @workflow.run
    async def run(self, operation: CircuitOperation) -> Any:
        resolved = operation.resolved or (await self._resolve(operation.activity))
        while True:
            upsert_changed({CIRCUIT_STATE: self._machine.state.value})
            if self._machine.state is CircuitState.OPEN:
                await self._wait(self._machine.next_probe_at)
            else:
                done, result = await self._try(operation, resolved)
                if done:
                    return result
            self._end_if_asked()
            self._tick()
            if workflow.info().is_continue_as_new_suggested():
                carried = {"machine": self._machine, "book": self._book, "resolved": resolved}
                counts = {"tries": self._tries, "openings": self._openings}
                workflow.continue_as_new(operation.model_copy(update={**carried, **counts}))

    async def _resolve(self, name: str) -> Resolved:
        try:
            return (await activities_of_run(name))[name]
        except ActivityError as error:
            cause = error.cause
            if not isinstance(cause, ApplicationError):
                raise
            raise ApplicationError(cause.message, type=cause.type, non_retryable=True) from error

    async def _try(self, operation: CircuitOperation, resolved: Resolved) -> tuple[bool, Any]:
        """One try. Returns whether that was the last, and its result; raises what the operation refused."""
        machine, lease, epoch = self._machine, "", self._machine.epoch
        self._tries += 1
        if machine.state is CircuitState.HALF_OPEN:
            lease = str(self._tries)
            machine.lend(lease, workflow.now())
        try:
            result = await self._call(operation, resolved)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.non_retryable and cause.type != CIRCUIT_OPEN:
                raise ApplicationError(
                    cause.message, *cause.details, type=cause.type, non_retryable=True
                ) from error
            self._saw(epoch, lease, failure=str(cause or error))
            self._give_up_or_go_on(operation, str(cause or error))
            if machine.state is CircuitState.CLOSED:
                await self._wait(self._pause(operation))
            return False, None
        self._saw(epoch, lease)
        upsert_changed({CIRCUIT_STATE: machine.state.value})
        return True, result

    async def _call(self, operation: CircuitOperation, resolved: Resolved) -> Any:
        return await workflow.execute_activity(
            resolved.name,
            args=[operation.input] if resolved.takes_input else [],
            task_queue=resolved.queue,
            summary=f"try {self._tries}",
            start_to_close_timeout=timedelta(seconds=operation.try_seconds),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )

    def _saw(self, epoch: int, lease: str, *, failure: str = "") -> None:
        """Tell the machine, as a process would tell the shared breaker."""
        failed, before = bool(failure), self._machine.state
        report = Report(process="self", seq=self._tries, epoch=epoch, calls=1, failures=failed, tail=failed)
        told = {"last_error": failure, "lease": lease, "healthy": not failed}
        self._machine.report(report.model_copy(update=told), workflow.now())
        opened = self._machine.state is CircuitState.OPEN and self._machine.epoch != epoch
        self._openings += opened and not self._machine.forced
        self._moved(before)

    def _give_up_or_go_on(self, operation: CircuitOperation, failure: str) -> None:
        if self._openings >= operation.max_openings and not self._machine.forced:
            upsert_changed({CIRCUIT_STATE: self._machine.state.value})
            told = f"{operation.activity} opened its breaker {self._openings} times in {self._tries} tries"
            raise ApplicationError(
                f"{told}, the last with: {failure}", type=OPENED_TOO_OFTEN, non_retryable=True
            )

    def _pause(self, operation: CircuitOperation) -> datetime:
        doublings = min(max(0, self._machine.failure_count - 1), 10)
        seconds = min(operation.pause_seconds * 2**doublings, LONGEST_PAUSE_SECONDS)
        return workflow.now() + timedelta(seconds=seconds)

    async def _wait(self, until: datetime | None) -> None:
        """Durably, until then, or the end of a forced state, or an act."""
        machine, epoch = self._machine, self._machine.epoch
        forced_until = machine.forced.until if machine.forced else None
        ends = min(filter(None, (until, forced_until)), default=None)
        timeout = max(timedelta(), ends - workflow.now()) if ends else None
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: machine.epoch != epoch or self._nudged,
                timeout=timeout,
                timeout_summary=f"{machine.state}",
            )
        self._nudged = False

    def _tick(self) -> None:
        before = self._machine.state
        self._machine.tick(workflow.now())
        self._moved(before)

    def _end_if_asked(self) -> None:
        if self._cancelled:
            by, why = self._cancelled.actor or "somebody", self._cancelled.reason
            raise ApplicationError(f"Cancelled by {by}: {why}", type=CANCELLED, non_retryable=True)

    def _released(self) -> None:
        self._nudged = True

    @workflow.signal(name="cancel", description="Try no more. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        now = workflow.now()
        decision = self._book.take(raw, now)
        if decision is None:
            return
        if self._cancelled:
            by = self._cancelled.actor
            self._book.record(decision, Outcome.ALREADY_DECIDED, f"Already cancelled by {by}.", now, by)
            return
        self._book.record(decision, Outcome.APPLIED, "It is not tried again.", now)
        self._cancelled, self._nudged = decision, True

    @workflow.signal(name="probe", description="Try now instead of waiting. Body: a Decision.")
    @lenient_signal
    def probe(self, raw: RawValue = NO_BODY) -> None:
        now, before = workflow.now(), self._machine.state
        decision = self._book.take(raw, now)
        if decision is None:
            return
        if problem := refuses_probe(self._machine, decision):
            self._book.record(decision, Outcome.REFUSED, problem, now)
            return
        if self._machine.state is CircuitState.OPEN:
            self._machine.half_open(now, f"{decision.actor} asked for a probe: {decision.reason}"[:500])
        self._book.record(decision, Outcome.APPLIED, "It is tried now.", now)
        self._moved(before)
