"""A bug in a workflow's run method fails the workflow, instead of retrying its task for ever.

An activity that is called with too few or too many arguments is not tried again: it would be the same call.

Not by `workflow_failure_exception_types`: that would also fail every open run on a bad deploy (as a
non-determinism error) or when a signal handler raises. Handlers are left alone here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError, FailureError, TemporalError, is_cancelled_exception
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from workers.payloads.validation import invalid_input, miscounted


class FailureInterceptor(Interceptor):
    """Turns what escapes a run method into an ApplicationError with the exception's class name as type."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        fn = input.fn
        try:
            return await super().execute_activity(input)
        except TypeError as error:
            wrong = miscounted(fn, len(input.args))
            if wrong:
                raise invalid_input(activity.info().activity_type, wrong) from error
            raise


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            return await super().execute_workflow(input)
        except TemporalError:
            # Failures of Temporal's kind say what they mean; non-determinism errors must not end a run.
            # Cancellation, continue-as-new and eviction are BaseExceptions and never get here.
            raise
        except Exception as error:
            kind = type(error).__name__
            raise ApplicationError(str(error) or kind, type=kind, non_retryable=True) from error


def end_of(error: BaseException) -> str:
    """How the run ends by this error, as the SDK decides it: failed, cancelled, or "" when only its task
    fails and the run stays open."""
    if workflow.cancellation_reason() is not None and (
        isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error)
    ):
        return "cancelled"
    return "failed" if isinstance(error, (FailureError, asyncio.CancelledError, TimeoutError)) else ""
