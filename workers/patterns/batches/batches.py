"""Batches: many items through few activities, with a result for each item."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RetryPolicy

from workers.patterns.batches.parallel import gather

SIZE = 100


class Batch(BaseModel):
    """The argument of a batch activity. Item `n` has the index `first + n` and the key `<key>/<index>`."""

    key: str = ""
    first: int = 0
    items: list[Any] = Field(default_factory=list)


class ItemResult(BaseModel):
    """What became of one item. `error`: the exception's type and message; "" when it is done."""

    index: int
    value: Any = None
    error: str = ""


class BatchResult(BaseModel):
    """What became of each item, in their order."""

    results: list[ItemResult] = Field(default_factory=list)

    @property
    def failed(self) -> list[ItemResult]:
        return [result for result in self.results if result.error]


def batched(items: Sequence[Any], *, key: str, size: int = SIZE) -> list[Batch]:
    """The items as batches of `size`, under one key."""
    if size < 1:
        raise ValueError("A batch has at least one item.")
    starts = range(0, len(items), size)
    return [Batch(key=key, first=start, items=list(items[start : start + size])) for start in starts]


def complete(batch: Batch, answer: BatchResult | None, error: str = "No result.") -> BatchResult:
    """A result for every item of the batch: one that the activity says nothing about failed with `error`."""
    told = {result.index: result for result in answer.results} if answer else {}
    indices = range(batch.first, batch.first + len(batch.items))
    return BatchResult(results=[told.get(index) or ItemResult(index=index, error=error) for index in indices])


async def in_batches(
    activity: str | Callable[..., Any],
    items: Sequence[Any],
    *,
    key: str = "",
    size: int = SIZE,
    limit: int = 4,
    seconds: float = 300,
    heartbeat_seconds: float = 10,
    attempts: int = 10,
    queue: str = "",
) -> BatchResult:
    """Run a batch activity over all items, `limit` batches at once, and merge the results in order.

    Of a batch that failed as a whole every item has its error. `key`: default the first run id of the chain.
    `seconds`: one try of one batch; it goes on where the last try stopped. `heartbeat_seconds`: how long a
    silent worker is believed alive. `queue`: whose workers run it, default the workflow's own.
    """

    options = {
        "result_type": BatchResult,
        "task_queue": queue or None,
        "start_to_close_timeout": timedelta(seconds=seconds),
        "heartbeat_timeout": timedelta(seconds=heartbeat_seconds),
        "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=attempts),
    }
    batches = batched(items, key=key or workflow.info().first_execution_run_id, size=size)
    calls = (functools.partial(_call, activity, batch, options) for batch in batches)
    merged: list[ItemResult] = []
    for batch, end in zip(batches, await gather(calls, limit=limit), strict=True):
        merged += complete(batch, end.value, reason(end.error)).results
    return BatchResult(results=merged)


def _call(
    activity: str | Callable[..., Any], batch: Batch, options: dict[str, Any]
) -> workflow.ActivityHandle[BatchResult]:
    summary = f"items {batch.first + 1} to {batch.first + len(batch.items)}"
    return workflow.start_activity(activity, batch, summary=summary, **options)


def reason(error: Exception | None) -> str:
    """Why a batch failed: what its activity said, not that an activity failed."""
    if error is None:
        return "No result."
    return str(getattr(error, "cause", None) or error)[:500]
