"""The tenant and the environment that this code works for, and the headers by which they travel.

`launch` sets them, every start of this process's client carries them, and in an activity `current_tenant()`
reads them. What workers do with them is in workers/interceptors/tenancy.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.converter import PayloadConverter

TENANT_HEADER = "signalbox-tenant"
ENVIRONMENT_HEADER = "signalbox-environment"
RUN_HEADERS = "signalbox-run-"
"""Headers of this prefix belong to a run and the runs that continue it, not to what it starts."""

Headers = Mapping[str, Payload]

_tenant: ContextVar[str | None] = ContextVar("signalbox_tenant", default=None)
_environment: ContextVar[str | None] = ContextVar("signalbox_environment", default=None)
_extra_headers: ContextVar[Mapping[str, str]] = ContextVar("signalbox_headers", default={})  # noqa: B039 (never changed)


def current_tenant() -> str | None:
    """The tenant that this activity (or this launch) works for; None when the run was started without one."""
    return _tenant.get()


def current_environment() -> str | None:
    """The environment the run was launched in; None when the run was started without one."""
    return _environment.get()


@contextmanager
def tenant_context(
    tenant: str | None, environment: str | None, headers: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Whatever is started inside the block carries these in its headers."""
    tokens = _tenant.set(tenant), _environment.set(environment), _extra_headers.set(headers or {})
    try:
        yield
    finally:
        _tenant.reset(tokens[0])
        _environment.reset(tokens[1])
        _extra_headers.reset(tokens[2])


def encoded(values: Mapping[str, str | None]) -> dict[str, Payload]:
    convert = PayloadConverter.default.to_payload
    return {name: convert(value) for name, value in values.items() if value is not None}


@lru_cache(maxsize=256)
def _text(data: bytes) -> str | None:
    try:
        return str(json.loads(data))
    except ValueError:
        return None


def header_text(headers: Headers, name: str) -> str | None:
    """The text of a header; None without it, or when it holds something else."""
    payload = headers.get(name)
    return _text(payload.data) if payload is not None else None


class TenancyClientInterceptor(Interceptor):
    """Adds the headers to what this process starts; every client of ours has it."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Starts(next)


class _Starts(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        current = {
            TENANT_HEADER: _tenant.get(),
            ENVIRONMENT_HEADER: _environment.get(),
            **_extra_headers.get(),
        }
        input.headers = {**input.headers, **encoded(current)}
        return await super().start_workflow(input)
