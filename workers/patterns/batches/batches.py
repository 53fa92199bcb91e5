"""Batches: many items through few activities, with a result for each item.

A batch keeps what is done whatever ends its attempt: the results of an attempt are in what it returns, in the
details of its failure, or in its last heartbeat, and the next attempt gets only the items that are left.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    TimeoutError,  # noqa: A004 (Temporal's own)
    is_cancelled_exception,
)

from workers.patterns.batches.parallel import gather
from workers.patterns.breaker.names import UNAVAILABLE
from workers.patterns.guarded_calls import GuardedCalls

SIZE = 100
WORKER_SHUTDOWN = "WorkerShutdown"
MAX_DOUBLINGS = 4


class Batch(BaseModel):
    """The argument of a batch activity. Item `n` has the index `first + n` and the key `<key>/<index>`."""

    key: str = ""
    first: int = 0
    items: list[Any] = Field(default_factory=list)

    def after(self, count: int) -> Batch:
        """The same batch without its first `count` items."""
        return Batch(key=self.key, first=self.first + count, items=self.items[count:])


class ItemResult(BaseModel):
    """What became of one item. `error`: the exception's type and message; "" when it is done."""

    index: int
    value: Any = None
    error: str = ""


class BatchResult(BaseModel):
    """What became of each item, in their order.

    more: the results grew large, so the attempt ended here; the items after them are left.
    """

    results: list[ItemResult] = Field(default_factory=list)
    more: bool = False

    @property
    def failed(self) -> list[ItemResult]:
        return [result for result in self.results if result.error]


@dataclass(frozen=True)
class Attempt:
    """What one attempt did: results of the first items, and why it ended before the last; "" when it did not.

    transient: the error says nothing about the items, so it uses up no attempt: an outage, a worker that is
        shut down.
    final: the activity says that no other attempt helps.
    """

    results: list[ItemResult] = field(default_factory=list)
    error: str = ""
    transient: bool = False
    final: bool = False


@dataclass
class Attempts:
    """Counts attempts that did nothing, and says how long to wait before the next one. Pure.

    limit: of attempts in a row that did nothing, 0: none. retry_seconds: the first wait in an outage.
    used_up: there is to be no other attempt; the items that are left have failed.
    """

    limit: int
    retry_seconds: float
    failed: int = 0
    outages: int = 0
    used_up: bool = False

    def wait_after(self, attempt: Attempt) -> float:
        """Seconds until the next attempt; after one that did something, 0. Updates `used_up`."""
        self.used_up = False
        if attempt.results or not attempt.error:
            self.failed = self.outages = 0
        elif attempt.transient:
            self.outages += 1
            return self.retry_seconds * 2.0 ** min(self.outages - 1, MAX_DOUBLINGS)
        else:
            self.failed += 1
            self.used_up = attempt.final or 0 < self.limit <= self.failed
            return min(2.0 ** min(self.failed - 1, 6), 60)
        return 0


def batched(items: Sequence[Any], *, key: str, size: int = SIZE) -> list[Batch]:
    """The items as batches of `size`, under one key."""
    if size < 1:
        raise ValueError("A batch has at least one item.")
    starts = range(0, len(items), size)
    return [Batch(key=key, first=start, items=list(items[start : start + size])) for start in starts]


def complete(batch: Batch, answer: BatchResult | None, error: str = "No result.") -> BatchResult:
    """A result for every item of the batch: one without a result in `answer` failed with `error`."""
    known = {result.index: result for result in answer.results} if answer else {}
    indices = range(batch.first, batch.first + len(batch.items))
    return BatchResult(
        results=[known.get(index) or ItemResult(index=index, error=error) for index in indices]
    )


async def attempt_batch(
    calls: GuardedCalls,
    activity: str | Callable[..., Any],
    batch: Batch,
    *,
    seconds: float,
    heartbeat_seconds: float,
    queue: str = "",
) -> Attempt:
    """Call a batch activity once, held while a breaker refuses it. Raises ActivityError when cancelled."""
    try:
        answer: BatchResult = await calls.call(
            activity,
            batch,
            idempotency_key=f"{batch.key}/{batch.first}",  # of its first item
            result_type=BatchResult,
            task_queue=queue or None,
            summary=f"items {batch.first + 1} to {batch.first + len(batch.items)}",
            start_to_close_timeout=timedelta(seconds=seconds),
            heartbeat_timeout=timedelta(seconds=heartbeat_seconds),
            retry_policy=RetryPolicy(maximum_attempts=1),  # a retry would hide what was done before it
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        cause, results = error.cause, _results_of(batch, error.cause)
        if isinstance(cause, ApplicationError):
            transient = cause.type in (UNAVAILABLE, WORKER_SHUTDOWN)
            return Attempt(results, reason(error), transient, final=cause.non_retryable)
        return Attempt(results, reason(error))
    if answer.more:
        return Attempt(_leading(batch, answer.results))
    return Attempt(complete(batch, answer).results)


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
    retry_seconds: float = 30,
    queue: str = "",
    guarded: GuardedCalls | None = None,
) -> BatchResult:
    """Run a batch activity over all items, `limit` batches at once, and merge the results in order.

    key: prefix of the items' idempotency keys, default the first run id of the chain.
    seconds: one attempt of one batch. heartbeat_seconds: how long a silent worker is believed alive.
    attempts: in a row that do nothing, until the items that are left have failed; 0: no limit.
    retry_seconds: the first wait at an open breaker and in an outage, which use up no attempts.
    queue: whose workers run it, default the workflow's own.
    guarded: the GuardedCalls of the workflow, whose `resume` then ends a wait at a breaker, which WaitingFor
        shows. Without it the batches only try again by themselves.
    """
    calls = guarded or GuardedCalls(retry_seconds, lambda: None)

    async def run(batch: Batch) -> list[ItemResult]:
        results: list[ItemResult] = []
        tries = Attempts(attempts, retry_seconds)
        while (left := batch.after(len(results))).items:
            attempt = await attempt_batch(
                calls, activity, left, seconds=seconds, heartbeat_seconds=heartbeat_seconds, queue=queue
            )
            results += attempt.results
            if wait := tries.wait_after(attempt):
                if tries.used_up:
                    return [*results, *complete(left, None, attempt.error).results]
                await workflow.sleep(wait, summary="try the batch again")
        return results

    batches = batched(items, key=key or workflow.info().first_execution_run_id, size=size)
    merged: list[ItemResult] = []
    for batch, end in zip(
        batches, await gather((functools.partial(run, batch) for batch in batches), limit=limit), strict=True
    ):
        merged += end.value if end.value is not None else complete(batch, None, reason(end.error)).results
    return BatchResult(results=merged)


def reason(error: Exception | None) -> str:
    """Why a batch failed: its activity's own error, not that an activity failed."""
    if error is None:
        return "No result."
    return str(getattr(error, "cause", None) or error)[:500]


_RESULTS = TypeAdapter(list[ItemResult])


def _results_of(batch: Batch, cause: BaseException | None) -> list[ItemResult]:
    """What was done before an attempt failed: in the details of its own error, or of its last heartbeat."""
    details: Sequence[Any] = ()
    if isinstance(cause, TimeoutError):
        details = cause.last_heartbeat_details
    elif isinstance(cause, ApplicationError):
        details = cause.details
    try:
        return _leading(batch, _RESULTS.validate_python(details[0])) if details else []
    except ValidationError:  # details of some other activity
        return []


def _leading(batch: Batch, results: list[ItemResult]) -> list[ItemResult]:
    """The results that belong to the batch's first items, up to the first gap."""
    indices = range(batch.first, batch.first + len(batch.items))
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1].index, zip(indices, results, strict=False))
    return [result for _, result in pairs]
