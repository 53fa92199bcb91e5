"""The way forward of a saga: a step as an activity, or as a nested saga in a child workflow."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    TimeoutError,  # noqa: A004 (Temporal's own)
)
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

from workers.contracts import CompensationStatus, SagaState
from workers.patterns.guarded_calls import GuardedCalls, refused_at
from workers.patterns.saga.ledger import Entry, Ledger, numbered
from workers.patterns.saga.messages import SagaResult

R = TypeVar("R")

NESTED_COMPENSATED = "NestedSagaCompensated"
NESTED_LOST = "NestedSagaLost"
SAGA_UNWINDING = "SagaUnwinding"


async def run_step(
    entry: Entry,
    ledger: Ledger,
    holds: GuardedCalls,
    *,
    activity: str,
    argument: Any,
    result: type[R] | None,
    attempts: int,
    seconds: float,
    queue: str,
) -> R:
    """Run it until it is done or failed for good, held while a breaker refuses it. Raises ActivityError."""
    lease = ""
    while True:
        if ledger.unwinding:
            raise ApplicationError("The way back has begun.", type=SAGA_UNWINDING, non_retryable=True)
        try:
            answer = await _attempt(entry, activity, argument, result, attempts, seconds, queue, lease)
        except asyncio.CancelledError:
            entry.unknown("Cancelled while it ran.")
            raise
        except ActivityError as error:
            dependency, attempt = refused_at(error)
            if not dependency:
                _judge(entry, error)
                raise
            entry.held(attempt, f"Held: the breaker of {dependency} is open.")
            lease = await holds.wait(dependency)
            continue
        except ApplicationError as error:  # the argument is not to be sent
            entry.refused(error.message)
            raise
        entry.done(answer)
        return answer


async def _attempt(
    entry: Entry,
    activity: str,
    argument: Any,
    result: type[R] | None,
    attempts: int,
    seconds: float,
    queue: str,
    lease: str,
) -> R:
    entry.starts()
    answer: R = await GuardedCalls.start(
        activity,
        argument,
        idempotency_key=entry.status.idempotency_key,
        lease=lease,
        result_type=result,
        task_queue=queue or None,
        activity_id=entry.status.activity_id,
        summary=entry.status.name.replace("_", " "),
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=0.5),
            maximum_interval=timedelta(seconds=10),
            maximum_attempts=attempts,
        ),
    )
    return answer


def _judge(entry: Entry, error: ActivityError) -> None:
    """What a failure says about the outside."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.non_retryable:
        entry.refused(cause.message)
    else:
        entry.unknown(str(cause or error))


class Nested:
    """A saga in a child workflow. It is told of each cancellation, and then undoes its own steps."""

    def __init__(self, entry: Entry, ledger: Ledger) -> None:
        self._entry, self._ledger = entry, ledger
        self._handle: ChildWorkflowHandle[Any, SagaResult] | None = None
        self._cancelled = False

    async def run(self, workflow_type: str, argument: Any, queue: str) -> SagaResult:
        """Its result, once what would undo it is booked as ours.

        Raises ApplicationError: NestedSagaCompensated when it has undone itself, NestedSagaLost when it was
        ended from outside, so that nobody knows.
        """
        kind, why, result = "", "", None
        try:
            result = await self._awaited(asyncio.create_task(self._child(workflow_type, argument, queue)))
        except ChildWorkflowError as error:
            why = str(error.cause or error)
            kind = self._judge(error, why)
        except ApplicationError as error:  # the argument is not to be sent
            kind, why = str(error.type), error.message
            self._entry.refused(why)
        if result is not None:
            kind, why = self._booked(result)
        if self._cancelled:
            raise asyncio.CancelledError
        if result is None or kind:
            raise ApplicationError(why, type=kind, non_retryable=True)
        return result

    def _booked(self, result: SagaResult) -> tuple[str, str]:
        if result.state is not SagaState.COMPLETED:
            self._entry.refused(result.outcome)
            return NESTED_COMPENSATED, result.outcome
        self._entry.done(result.results)
        self._ledger.take_over(self._entry, result.compensations)
        return "", ""

    async def _child(self, workflow_type: str, argument: Any, queue: str) -> SagaResult:
        entry = self._entry
        entry.starts()
        suffix = numbered(entry.label, entry.runs).replace("/", "-").replace("#", "-")
        entry.status.child_workflow_id = f"{workflow.info().workflow_id}-{suffix}"
        entry.status.activity_id = ""  # it is no activity
        self._handle = await workflow.start_child_workflow(
            workflow_type,
            argument,
            id=entry.status.child_workflow_id,
            task_queue=queue or None,
            result_type=SagaResult,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        )
        if self._cancelled:
            self._handle.cancel()
        return await self._handle

    async def _awaited(self, task: asyncio.Task[SagaResult]) -> SagaResult:
        """Like `run_shielded`, but each cancellation is told to the child."""
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
                self._cancelled = True
                if self._handle is not None:
                    self._handle.cancel()
            except FailureError:
                break
        return task.result()

    def _judge(self, error: ChildWorkflowError, why: str) -> str:
        """One that failed or was cancelled has undone its own steps; of any other end nobody knows."""
        if not isinstance(error.cause, (TerminatedError, TimeoutError)):
            self._entry.refused(why)
            return NESTED_COMPENSATED
        self._entry.unknown(f"The nested saga did not end by itself: {why}")
        self._entry.by_hand = True
        self._entry.status.compensation = CompensationStatus(name="settle_by_hand")
        return NESTED_LOST
