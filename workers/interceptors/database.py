"""Database connections in activities: stale ones are closed, as Django does around a request.

Of sync activities before and after each, on the thread that they run on. The ORM of async activities has one
thread for all of them (asgiref's), and waiting there for one's turn would queue each behind the slowest query
of the others: they close it only after a database error, so that the next attempt connects anew.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error, close_old_connections
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor


class DatabaseInterceptor(Interceptor):
    """Wraps the function of a sync activity itself, as connections belong to the thread that it runs on."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if not _is_async(input.fn):
            input.fn = _clean(input.fn)
            return await super().execute_activity(input)
        try:
            return await super().execute_activity(input)
        except Error:
            await sync_to_async(close_old_connections)()
            raise


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
