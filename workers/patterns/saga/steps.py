"""One step of a saga: as an activity, or as a nested saga in a child workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypedDict

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

from workers.contracts import SagaState
from workers.contracts.effects import says_no_effect
from workers.patterns.guarded_calls import GuardedCalls, refused_at
from workers.patterns.saga.cancellation import Cancellation
from workers.patterns.saga.ledger import Entry, Ledger, numbered
from workers.patterns.saga.messages import SagaResult

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


def history_full(events: int, size: int) -> bool:
    info = workflow.info()
    return info.get_current_history_length() > events or info.get_current_history_size() > size


class Forward:
    """What every step looks at before it begins and when it has ended."""

    def __init__(self, ledger: Ledger, cancellation: Cancellation) -> None:
        self.ledger = ledger
        self._cancellation = cancellation

    @property
    def stopped(self) -> bool:
        """No further step begins: a `cancel` was applied, or Temporal's cancellation came before the point
        of no return."""
        return self._cancellation.cancelled_by is not None or (
            workflow.cancellation_reason() is not None and not self.ledger.committed
        )

    def ended(self, cancelled: bool) -> None:
        """A step has ended and is in the ledger. Raises CancelledError when nothing may follow."""
        if self.stopped or (cancelled and not self.ledger.committed):
            raise asyncio.CancelledError

    def revokes(self, entry: Entry, cancelled: bool) -> bool:
        """Was it cancelled before it was done, so that it is undone and no point of no return?"""
        return self._cancellation.cancelled_by is not None or (cancelled and entry.has_undo)

    def check(self) -> None:
        """May a step begin? Raises CancelledError, or ApplicationError: compensating, history full."""
        if self.ledger.compensating:
            raise ApplicationError("Compensation has begun.", type=SAGA_COMPENSATING, non_retryable=True)
        if self.stopped:
            raise asyncio.CancelledError
        if history_full(FORWARD_EVENTS, FORWARD_BYTES):
            why = "The history of this run is nearly full, so no further step begins."
            raise ApplicationError(why, type=HISTORY_FULL, non_retryable=True)


async def outcome_of(task: asyncio.Task[Any]) -> bool:
    """Wait until an activity or child has ended; a cancellation meanwhile is passed on to it. Was there
    one?"""
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
            if not task.done():
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
    """Run it until it is done or failed for good, held while a breaker refuses it. Raises ActivityError,
    ApplicationError for an argument that cannot be sent, CancelledError."""
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
        dependency = _note(entry, handle, forward.revokes(entry, cancelled))
        forward.ended(cancelled)
        if not dependency:
            return handle.result()
        lease = await calls.wait(dependency)


def _note(entry: Entry, handle: asyncio.Task[Any], cancelled: bool) -> str:
    """Keep in the ledger how the activity ended; the dependency whose breaker refused it, or ""."""
    error = None if handle.cancelled() else handle.exception()
    if not handle.cancelled() and error is None:
        entry.cancelled = cancelled
        entry.done(handle.result())
        return ""
    if error is None or is_cancelled_exception(error):
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


class Nested:
    """A saga in a child workflow. Each cancellation is passed on to it, and it then undoes its own steps."""

    def __init__(self, entry: Entry, forward: Forward) -> None:
        self._entry, self._forward = entry, forward

    async def run(self, workflow_type: str, argument: Any, queue: str) -> SagaResult:
        """Its result, once what would undo it is in our ledger.

        Raises ApplicationError: NestedSagaCompensated when it has undone itself, NestedSagaNotStarted when
        its id is in use, NestedSagaLost when it was ended from outside, so that the outcome is unknown;
        CancelledError."""
        self._forward.check()
        entry = self._entry
        entry.starts()
        entry.status.activity_id = ""  # it is no activity
        task = asyncio.create_task(self._child(workflow_type, argument, queue))
        cancelled = await outcome_of(task)
        kind, why, result = self._note(task, self._forward.revokes(entry, cancelled))
        self._forward.ended(cancelled)
        if result is None:
            raise ApplicationError(why, type=kind, non_retryable=True)
        return result

    async def _child(self, workflow_type: str, argument: Any, queue: str) -> SagaResult:
        """Start it and wait for its end, which a cancellation does not cut short."""
        entry, info = self._entry, workflow.info()
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
        cancelled = False
        while not start.done():
            try:
                _ = await asyncio.shield(start)
            except asyncio.CancelledError:
                cancelled = True
        child: ChildWorkflowHandle[Any, SagaResult] = start.result()
        if cancelled:
            child.cancel()
        await outcome_of(child)
        return await child

    def _note(self, task: asyncio.Task[SagaResult], cancelled: bool) -> tuple[str, str, SagaResult | None]:
        """Keep in the ledger how it ended: the kind and message of the error to raise, or the result."""
        entry = self._entry
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            result = task.result()
            if result.state is not SagaState.COMPLETED:
                entry.did_not_happen(result.outcome)
                return NESTED_COMPENSATED, result.outcome, None
            entry.cancelled = cancelled
            entry.done(result.results)
            self._forward.ledger.take_over(entry, result)
            return "", "", result
        return *self._outcome(error), None

    def _outcome(self, error: BaseException | None) -> tuple[str, str]:
        """A child that failed or was cancelled has undone its own steps; of any other end nothing is
        known."""
        entry = self._entry
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
