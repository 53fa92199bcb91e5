"""The steps of a saga on their way forward: whether the next may begin, what a cancellation does to them, and
one step as an activity or as a nested saga in a child workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypedDict, TypeVar

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    TimeoutError,  # noqa: A004 (Temporal's own)
    is_cancelled_exception,
)
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

from workers.contracts import Decision, Outcome, SagaState
from workers.contracts.effects import says_no_effect
from workers.patterns.decisions import DecisionResult
from workers.patterns.guarded_calls import GuardedCalls, refused_at
from workers.patterns.saga.ledger import Entry, Ledger, numbered
from workers.patterns.saga.messages import SagaResult

T = TypeVar("T")

NESTED_COMPENSATED = "NestedSagaCompensated"
NESTED_LOST = "NestedSagaLost"
NESTED_NOT_STARTED = "NestedSagaNotStarted"
SAGA_COMPENSATING = "SagaCompensating"
HISTORY_FULL = "HistoryFull"
FORWARD_EVENTS, FORWARD_BYTES = 30_000, 30_000_000
"""Of a run's history: from here on no step begins. The server terminates a run at 51,200 events or 50 MB;
the rest is for compensation."""


class ActivityOptions(TypedDict, total=False):
    """As `workflow.start_activity` takes them."""

    task_queue: str | None
    result_type: type | None
    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    priority: Priority


class Forward:
    """Runs the steps. A cancellation, accepted or refused once, is a state that every step looks at.

    Cancelling the task that runs the steps only wakes it. A cancellation and the completion of an activity
    may share one workflow task, and then the task ends with that completion and the cancellation is lost.
    `subject`: what verdicts call the workflow. `cancelled_by`: a sentence, once a `cancel` was applied.
    """

    def __init__(self, ledger: Ledger, subject: str) -> None:
        self.ledger = ledger
        self.cancelled_by: str | None = None
        self._subject = subject
        self._task: asyncio.Task[Any] | None = None

    async def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """As `Saga.run`. A cancellation may come in the moment in which they end by themselves: that end
        counts."""
        task = asyncio.create_task(steps)
        self._task = task
        if self.cancelled_by is not None:  # the signal came with the first workflow task
            task.cancel()
        try:
            return await task
        except (asyncio.CancelledError, FailureError):
            if task.cancelled():
                raise
            return task.result()

    def cancel(self, decision: Decision) -> DecisionResult:
        """As `Saga.cancel`."""
        if self.cancelled_by is not None:
            return Outcome.ALREADY_DECIDED, f"It is being undone already. {self.cancelled_by}", ""
        if objection := self._objection():
            return Outcome.REFUSED, objection, ""
        who = f" by {decision.actor}" if decision.actor else ""
        self.cancelled_by = f"Cancelled{who}{f': {decision.reason}' if decision.reason else '.'}"
        if self._task is not None:
            self._task.cancel()
        return Outcome.APPLIED, f"{self._subject} is being cancelled; what was done is undone.", ""

    def _objection(self) -> str:
        """Why it cannot be cancelled now, or ""."""
        if self.ledger.committed:
            return f"{self._subject} has passed the point of no return; it can no longer be cancelled."
        for entry in self.ledger.entries:
            if entry.status.point_of_no_return and not entry.has_undo and entry.may_have_happened:
                return f"{entry.status.name} may have passed the point of no return; its outcome comes first."
        if self._task is not None and self._task.done():
            return f"{self._subject} is ending already."
        return ""

    @property
    def stopped(self) -> bool:
        """No further step begins: a `cancel` was applied, or Temporal's cancellation came before the point
        of no return."""
        return self.cancelled_by is not None or (
            workflow.cancellation_reason() is not None and not self.ledger.committed
        )

    def check(self) -> None:
        """May a step begin? Raises CancelledError, or ApplicationError: compensating, history full."""
        if self.ledger.compensating:
            raise ApplicationError("Compensation has begun.", type=SAGA_COMPENSATING, non_retryable=True)
        if self.stopped:
            raise asyncio.CancelledError
        if history_full(FORWARD_EVENTS, FORWARD_BYTES):
            why = "The history of this run is nearly full, so no further step begins."
            raise ApplicationError(why, type=HISTORY_FULL, non_retryable=True)

    def ended(self, cancelled: bool) -> None:
        """A step has ended and is in the ledger. Raises CancelledError when nothing may follow."""
        if self.stopped or (cancelled and not self.ledger.committed):
            raise asyncio.CancelledError

    def revokes(self, entry: Entry, cancelled: bool) -> bool:
        """Was it cancelled before it was done, so that it is undone and no point of no return?"""
        return self.cancelled_by is not None or (cancelled and entry.has_undo)


def history_full(events: int, size: int) -> bool:
    info = workflow.info()
    return info.get_current_history_length() > events or info.get_current_history_size() > size


async def outcome_of(task: asyncio.Task[Any], *, pass_on: bool = True) -> bool:
    """Wait until an activity or child has ended. Was there a cancellation meanwhile? It is passed on."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
            if pass_on and not task.done():
                task.cancel()
        except FailureError:
            break
    return cancelled


async def run_step(
    entry: Entry,
    forward: Forward,
    calls: GuardedCalls,
    activity: Callable[..., Any] | str,
    argument: Any,
    options: ActivityOptions,
) -> Any:
    """One step as `Saga.step` says, without its operator. Raises ApplicationError also for an argument that
    cannot be sent."""
    lease = ""
    while True:
        forward.check()
        entry.starts()
        try:
            handle = calls.start(
                activity,
                argument,
                idempotency_key=entry.status.idempotency_key,
                lease=lease,
                activity_id=entry.status.activity_id,
                summary=entry.status.name.replace("_", " "),
                **options,
            )
        except ApplicationError as error:
            entry.never_sent(error.message)
            raise
        cancelled = await outcome_of(handle)
        dependency = _note_step(entry, handle, forward.revokes(entry, cancelled))
        forward.ended(cancelled)
        if not dependency:
            return handle.result()
        lease = await calls.wait(dependency)


def _note_step(entry: Entry, handle: asyncio.Task[Any], cancelled: bool) -> str:
    """Keep in the ledger how the activity ended; the dependency whose breaker refused it, or ""."""
    error = _error_of(handle)
    if error is None:
        entry.cancelled = cancelled
        entry.done(handle.result())
        return ""
    if is_cancelled_exception(error):
        entry.failed("Cancelled while it ran.")
        return ""
    if isinstance(error, FailureError):
        dependency, never_sent = refused_at(error)
        if dependency:
            entry.held(never_sent, f"Held: the breaker of {dependency} is open.")
            return dependency
    cause = getattr(error, "cause", None) or error
    message = cause.message if isinstance(cause, ApplicationError) else str(cause)
    if says_no_effect(cause):
        entry.did_not_happen(message)
    else:
        entry.failed(message)
    return ""


async def run_nested(
    entry: Entry, forward: Forward, workflow_type: str, argument: Any, queue: str
) -> SagaResult:
    """One step as `Saga.nested` says, without its operator. Each cancellation is passed on to the child,
    which then undoes its own steps."""
    forward.check()
    entry.starts()
    entry.status.activity_id = ""  # it is no activity
    task = asyncio.create_task(_child(entry, workflow_type, argument, queue))
    cancelled = await outcome_of(task)
    kind, why = _note_nested(entry, forward, task, cancelled)
    forward.ended(cancelled)
    if kind:
        raise ApplicationError(why, type=kind, non_retryable=True)
    return task.result()


async def _child(entry: Entry, workflow_type: str, argument: Any, queue: str) -> SagaResult:
    """Start it and wait for its end, which a cancellation does not cut short."""
    info = workflow.info()
    suffix = numbered(entry.label, entry.runs).replace("/", "-").replace("#", "-")
    # The chain is part of the id, as a child of an earlier one may still be compensating under its own:
    # the end of its run id, as servers make ids that begin with the time.
    entry.status.child_workflow_id = f"{info.workflow_id}-{suffix}-{info.first_execution_run_id[-12:]}"
    start = asyncio.create_task(
        workflow.start_child_workflow(
            workflow_type,
            argument,
            id=entry.status.child_workflow_id,
            task_queue=queue or None,
            result_type=SagaResult,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        )
    )
    cancelled = await outcome_of(start, pass_on=False)
    child: ChildWorkflowHandle[Any, SagaResult] = start.result()
    if cancelled:
        child.cancel()
    await outcome_of(child)
    return await child


def _note_nested(
    entry: Entry, forward: Forward, task: asyncio.Task[SagaResult], cancelled: bool
) -> tuple[str, str]:
    """Keep in the ledger how it ended; the kind and message of the error to raise, or ("", "")."""
    if (error := _error_of(task)) is not None:
        return _outcome(entry, error)
    result = task.result()
    if result.state is not SagaState.COMPLETED:
        entry.did_not_happen(result.outcome)
        return NESTED_COMPENSATED, result.outcome
    entry.cancelled = forward.revokes(entry, cancelled)
    entry.done(result.results)
    forward.ledger.take_over(entry, result)
    return "", ""


def _outcome(entry: Entry, error: BaseException) -> tuple[str, str]:
    """A child that failed or was cancelled has undone its own steps; of any other end nothing is known."""
    if isinstance(error, ChildWorkflowError):
        why = str(error.cause or error)
        if not isinstance(error.cause, (TerminatedError, TimeoutError)):
            entry.did_not_happen(why)
            return NESTED_COMPENSATED, why
        why = f"The nested saga did not end by itself: {why}"
        entry.lost(why)
        return NESTED_LOST, why
    if isinstance(error, FailureError):  # its id is in use, or the argument cannot be sent
        entry.never_sent(error.message)
        kind = error.type if isinstance(error, ApplicationError) and error.type else NESTED_NOT_STARTED
        return kind, error.message
    entry.never_sent("Cancelled before it started.")
    return NESTED_COMPENSATED, "Cancelled before it started."


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
