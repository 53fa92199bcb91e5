"""A bug in a workflow's run method fails the run only before its first effect.

Later its workflow task fails, is retried and alarms, until a deploy repairs the code: to end the run would
forget what it has done.

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
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    StartNexusOperationInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, ChildWorkflowHandle

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


class _Outbound(WorkflowOutboundInterceptor):
    """Notes that the run has begun to have effects."""

    started = False

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        self.started = True
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        self.started = True
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        self.started = True
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        self.started = True
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        self.started = True
        await super().signal_external_workflow(input)

    async def start_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> Any:
        self.started = True
        return await super().start_nexus_operation(input)


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._outbound = _Outbound(outbound)
        super().init(self._outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            return await super().execute_workflow(input)
        except TemporalError:
            # Failures of Temporal's kind say what they mean; non-determinism errors must not end a run.
            # Cancellation, continue-as-new and eviction are BaseExceptions and never get here.
            raise
        except Exception as error:
            if self._outbound.started:
                raise  # the SDK fails the workflow task, and the run stays open
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
