"""For whom a run works: tenant and environment travel in headers from `launch` to every task of the run.

Children, activities, other workflows that it signals and its next run inherit no headers by themselves: the
outbound interceptor copies them. In an activity `current_tenant()` tells the tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.client import OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.converter import PayloadConverter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    Interceptor,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

TENANT_HEADER = "signalbox-tenant"
ENVIRONMENT_HEADER = "signalbox-environment"

Headers = Mapping[str, Payload]

_tenant: ContextVar[str | None] = ContextVar("signalbox_tenant", default=None)
_environment: ContextVar[str | None] = ContextVar("signalbox_environment", default=None)


def current_tenant() -> str | None:
    """The tenant that this activity (or this launch) works for; None when the run was started without one."""
    return _tenant.get()


def current_environment() -> str | None:
    """The environment the run was launched in; None when the run was started without one."""
    return _environment.get()


@contextmanager
def acting_for(tenant: str | None, environment: str | None) -> Iterator[None]:
    """Whatever is started inside the block carries these in its headers."""
    tokens = _tenant.set(tenant), _environment.set(environment)
    try:
        yield
    finally:
        _tenant.reset(tokens[0])
        _environment.reset(tokens[1])


def _with_current(headers: Headers) -> Headers:
    values = {TENANT_HEADER: _tenant.get(), ENVIRONMENT_HEADER: _environment.get()}
    convert = PayloadConverter.default.to_payload
    return {**headers, **{name: convert(value) for name, value in values.items() if value is not None}}


def _value(headers: Headers, name: str) -> str | None:
    payload = headers.get(name)
    return str(PayloadConverter.default.from_payload(payload, str)) if payload else None


class TenancyClientInterceptor(ClientInterceptor):
    """Adds the headers to what this process starts; every client of ours has it."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Starts(next)


class _Starts(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.headers = _with_current(input.headers)
        return await super().start_workflow(input)


class TenancyInterceptor(Interceptor):
    """The worker's side: hands the headers of a run on, and makes them readable in activities."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        # The SDK copies the context into the thread of a synchronous activity.
        with acting_for(_value(input.headers, TENANT_HEADER), _value(input.headers, ENVIRONMENT_HEADER)):
            return await super().execute_activity(input)


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


def _inherited(headers: Headers) -> Headers:
    own = workflow.info().headers
    return {**headers, **{name: own[name] for name in (TENANT_HEADER, ENVIRONMENT_HEADER) if name in own}}


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = _inherited(input.headers)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = _inherited(input.headers)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self,
        input: StartChildWorkflowInput,
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.headers = _inherited(input.headers)
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        input.headers = _inherited(input.headers)
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        input.headers = _inherited(input.headers)
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = _inherited(input.headers)
        super().continue_as_new(input)
