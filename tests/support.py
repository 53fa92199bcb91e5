"""Helpers of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

HTMX = {"HX-Request": "true"}  # the header by which htmx asks a page for the part that changes


async def eventually(fn: Callable[[], Any], *, timeout: float = 30, every: float = 0.05) -> Any:
    """Call `fn` (sync or async) until it returns something truthy, then return it; fail after `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        result = fn()
        value = await result if inspect.isawaitable(result) else result
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"Still {value!r} after {timeout} s.")
        await asyncio.sleep(every)


def read_only(value: bool) -> None:
    """Let this thread's connection refuse to write, or write again."""
    from django.db import connection

    sqlite = connection.vendor == "sqlite"
    setting = "PRAGMA query_only" if sqlite else "SET default_transaction_read_only"
    with connection.cursor() as cursor:
        cursor.execute(f"{setting} = {'on' if value else 'off'}")


async def end(client: Client, query: str) -> None:
    """Terminate what the list shows for `query`: what would go on in another test, or in its way."""
    async for run in client.list_workflows(query):
        with contextlib.suppress(RPCError):  # closed since the list was made
            await client.get_workflow_handle(run.id).terminate()
