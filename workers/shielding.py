"""Workflow code that must end although its run is cancelled: compensations, the audit of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def run_shielded(work: Coroutine[Any, Any, R]) -> R:
    """Run `work` in a task of its own to its end, whatever cancellations come meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()
