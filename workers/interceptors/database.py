"""Database connections in activities: stale ones are closed before and after each, as around a request."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor


class DatabaseInterceptor(Interceptor):
    """Wraps the activity's function itself, because connections belong to the thread that it runs on."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        fn = input.fn
        input.fn = _clean_async(fn) if _is_async(fn) else _clean(fn)
        return await super().execute_activity(input)


def _is_async(fn: Callable[..., Any]) -> bool:
    # An activity may be an object with an async __call__, which the SDK recognises just so.
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _clean(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def run(*args: Any) -> Any:
        close_old_connections()
        try:
            return fn(*args)
        finally:
            close_old_connections()

    return run


def _clean_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    # The ORM of async code runs on asgiref's own thread, and so must this.
    close = sync_to_async(close_old_connections)

    @functools.wraps(fn)
    async def run(*args: Any) -> Any:
        await close()
        try:
            return await fn(*args)
        finally:
            await close()

    return run
