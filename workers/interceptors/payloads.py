"""Payloads that a worker could not read cost the business nothing, refusals say what they were about, and
queries answer plain JSON.

A worker without the key (or without the stored bytes) fails an activity before its code, at the first attempt
and for good. This interceptor takes that failure back: the activity is scheduled again after a durable pause,
which doubles up to a minute, so that another worker, or this one after its repair, runs it with all its
attempts. The workflow's code sees nothing of it, so no step fails and nothing is compensated.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from google.protobuf.message import Message
from pydantic_core import to_jsonable_python
from temporalio import workflow
from temporalio.bridge.proto.activity_result import DoBackoff
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

from workers.payloads.errors import PayloadRefused, unreadable

LONGEST_PAUSE = 60  # seconds

H = TypeVar("H", bound=workflow.ActivityHandle[Any])


class PayloadInterceptor(Interceptor):
    """Needs the activity handles of the SDK itself, so no other interceptor may wrap them."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """Whoever asks may have no use for our tags."""
        answer = await super().handle_query(input)
        if answer is None or isinstance(answer, (RawValue, Message, bytes)):
            return answer
        return to_jsonable_python(answer, inf_nan_mode="strings")


def _about(error: PayloadRefused, what: str) -> PayloadRefused:
    return type(error)(f"The input of {what}: {error.message}")


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        try:
            return _taken_back(super().start_activity(input))
        except PayloadRefused as error:
            raise _about(error, f"activity {input.activity}") from None

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
        # The SDK converts these after the run's code has ended, where a refusal is nobody's to catch.
        try:
            workflow.payload_converter().to_payloads(input.args)
            workflow.payload_converter().to_payloads([*(input.memo or {}).values()])
        except PayloadRefused as error:
            raise _about(error, "the next run") from None
        super().continue_as_new(input)


def _taken_back(handle: H) -> H:
    """Lets the SDK's own backoff (made for local activities) take a failure that says nothing.

    It reaches into the handle, as the other way, a task around it, would wake every workflow one turn of its
    loop later and so change the order of commands in runs that are under way.
    """
    inside: Any = handle
    fail, pauses = inside._resolve_failure, 0

    def resolve_failure(error: BaseException) -> None:
        nonlocal pauses
        if unreadable(error) is None or not inside._started or handle.done():
            fail(error)
            return
        seconds = min(2**pauses, LONGEST_PAUSE)
        pauses += 1
        backoff = DoBackoff(attempt=1)
        backoff.backoff_duration.FromTimedelta(timedelta(seconds=seconds))
        inside._resolve_backoff(backoff)

    inside._resolve_failure = resolve_failure
    return handle
