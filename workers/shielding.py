"""Workflow code that must end although its run is cancelled: compensations, the audit of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow

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


async def wait_until(condition: Callable[[], bool]) -> None:
    """As `workflow.wait_condition`, ended only by a cancellation of the task that waits.

    With the SDK's logic flag for single-batch activations, `wait_condition` raises CancelledError in every
    task of a run whose cancellation is requested, also in shielded ones."""
    while not condition():
        try:
            await workflow.wait_condition(condition)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            evicted = workflow.cancellation_reason() is None
            if evicted or task is None or task.cancelling():
                raise
