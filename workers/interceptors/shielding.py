"""Workflow code that must end although its run is cancelled: compensations, the audit of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def run_shielded(work: Coroutine[Any, Any, R]) -> R:
    """Await `work` in a task of its own, again after every cancellation, of which each is delivered once."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()
