"""Refusals say what they were about, queries answer plain JSON, and what no worker could take is scheduled
again (workers/interceptors/undelivered.py)."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from google.protobuf.message import Message
from pydantic_core import to_jsonable_python
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.worker import (
    ContinueAsNewInput,
    HandleQueryInput,
    Interceptor,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from workers.contracts.alerts import RAISE_ALERT
from workers.interceptors.undelivered import DeliveredActivity
from workers.payloads.errors import PayloadRefused


class PayloadInterceptor(Interceptor):
    """The innermost, as it sees activities as they are scheduled, with all headers."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """The caller may not know our tags."""
        answer = await super().handle_query(input)
        if answer is None or isinstance(answer, (RawValue, Message, bytes)):
            return answer
        return to_jsonable_python(answer, inf_nan_mode="strings")


def _about(error: PayloadRefused, what: str) -> PayloadRefused:
    return type(error)(f"The input of {what}: {error.message}")


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        start = super().start_activity
        try:
            if input.activity == RAISE_ALERT:  # one that cannot be raised must not raise others
                return start(input)
            delivered = DeliveredActivity(lambda: start(input), input.activity)
        except PayloadRefused as error:
            raise _about(error, f"activity {input.activity}") from None
        return cast(workflow.ActivityHandle[Any], delivered)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        # Its worker is the workflow's own, whose task fails already when the key is missing.
        try:
            return super().start_local_activity(input)
        except PayloadRefused as error:
            raise _about(error, f"activity {input.activity}") from None

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        try:
            return await super().start_child_workflow(input)
        except PayloadRefused as error:
            raise _about(error, f"child workflow {input.workflow}") from None

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        # The SDK converts these after the run's code has ended, where no code can catch a refusal.
        try:
            workflow.payload_converter().to_payloads(input.args)
            workflow.payload_converter().to_payloads([*(input.memo or {}).values()])
        except PayloadRefused as error:
            raise _about(error, "the next run") from None
        super().continue_as_new(input)
