"""What a long process calls: the batch activity, held while a breaker refuses it, pages, and notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from workers.patterns.batches.batches import Batch, BatchResult, complete, reason
from workers.patterns.batches.messages import LongRunningInput, Notice, Page, PageQuery
from workers.patterns.breaker.names import CIRCUIT_OPEN, UNAVAILABLE
from workers.patterns.dynamic.resolve import Resolved
from workers.patterns.guarded_calls import GuardedCalls

R = TypeVar("R")

NOTICE_ATTEMPTS = 3


class Calls:
    """`stopped`: true once nothing more is wanted, so that a hold ends."""

    def __init__(
        self,
        start: LongRunningInput,
        targets: dict[str, Resolved],
        holds: GuardedCalls,
        stopped: Callable[[], bool],
    ) -> None:
        self._start, self._targets, self._holds, self._stopped = start, targets, holds, stopped
        self._page: list[Any] = []
        self._page_first = 0

    async def items(self, indices: range, total: int) -> list[Any] | None:
        """The items of these indices; empty: the pages have no more. None: stopped while held."""
        start = self._start
        if start.items:
            return start.items[indices.start : indices.stop]
        if not start.pages:
            return list(indices)
        if not self._page_first <= indices.start < self._page_first + len(self._page):
            limit = min(max(start.checkpoint_every, start.batch_size), total - indices.start)
            query = PageQuery(reference=start.reference, first=indices.start, limit=limit)
            label = f"read items {indices.start + 1} to {indices.start + limit}"
            page = await self._held(
                lambda key, lease: self._call(start.pages, query, Page, label, key=key, lease=lease)
            )
            if page is None:
                return None
            self._page, self._page_first = page.items[:limit], indices.start
        offset = indices.start - self._page_first
        return self._page[offset : offset + len(indices)]

    async def run(self, batch: Batch) -> BatchResult | None:
        """A result for every item. None: stopped while a breaker held it."""
        label = f"items {batch.first + 1} to {batch.first + len(batch.items)}"
        try:
            answer = await self._held(
                lambda key, lease: self._call(
                    self._start.activity,
                    batch,
                    BatchResult,
                    label,
                    attempts=self._start.batch_attempts,
                    heartbeat=timedelta(seconds=self._start.heartbeat_seconds),
                    key=key,
                    lease=lease,
                )
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return complete(batch, None, reason(error))
        return complete(batch, answer) if answer else None

    async def tell(self, notice: Notice) -> bool:
        """Tell somebody. False: it could not be told, which must stop nothing."""
        try:
            label = f"tell of {notice.event}"
            await self._call(self._start.notify, notice, object, label, attempts=NOTICE_ATTEMPTS)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("Nobody was told of %s: %s", notice.event, reason(error))
            return False
        return True

    async def _held(self, call: Callable[[str, str], workflow.ActivityHandle[R]]) -> R | None:
        """Call with a key and a lease, until no breaker refuses and no outage is left, with waits. None:
        stopped meanwhile."""
        key, lease = str(workflow.uuid4()), ""
        while True:
            try:
                return await call(key, lease)
            except ActivityError as error:
                kind, dependency = _outage(error)
                if not kind:
                    raise
            held = asyncio.create_task(self._wait(dependency))
            await workflow.wait_condition(lambda held=held: held.done() or self._stopped())  # type: ignore[misc]
            if not held.done():
                held.cancel()
                return None
            lease = held.result()

    async def _wait(self, dependency: str) -> str:
        """Until the next call: for the breaker of a dependency, else a while. Returns the probe's lease."""
        if dependency:
            return await self._holds.wait(dependency)
        await workflow.sleep(self._start.retry_seconds, summary="outage: try again")
        return ""

    def _call(
        self,
        name: str,
        argument: Any,
        result: type[R],
        label: str,
        *,
        attempts: int = 0,
        heartbeat: timedelta | None = None,
        key: str = "",
        lease: str = "",
    ) -> workflow.ActivityHandle[R]:
        target = self._targets[name]
        running: workflow.ActivityHandle[R] = GuardedCalls.start(
            target.name,
            *([argument] if target.takes_input else []),
            idempotency_key=key,
            lease=lease,
            result_type=result,
            task_queue=target.queue,
            summary=label,
            start_to_close_timeout=timedelta(seconds=self._start.batch_seconds),
            heartbeat_timeout=heartbeat,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=attempts),
        )
        return running


def _outage(error: ActivityError) -> tuple[str, str]:
    """The type of an error that says nothing about the items, and whose breaker refused; else "", ""."""
    cause = error.cause
    if not isinstance(cause, ApplicationError) or cause.type not in (CIRCUIT_OPEN, UNAVAILABLE):
        return "", ""
    refused = cause.type == CIRCUIT_OPEN and cause.details
    return cause.type, str(cause.details[0]) if refused else ""
