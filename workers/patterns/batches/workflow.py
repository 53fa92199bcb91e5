"""LongRunningWorkflow: very many items, in batches, for hours or days, watched, paused, carried on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import STAGE
    from workers.contracts import Progress, Status
    from workers.history import should_continue_as_new
    from workers.patterns.batches.batches import Attempt, Attempts, Batch, attempt_batch, complete, reason
    from workers.patterns.batches.messages import (
        Carried,
        LongRunningInput,
        LongRunningResult,
        Notice,
        Page,
        PageQuery,
    )
    from workers.patterns.batches.progress import ProgressState
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.dynamic.switches import activities_of_run
    from workers.patterns.handlers import HoldHandlers

R = TypeVar("R")

TOO_MANY_FAILURES = "TooManyFailures"
NOTICE_ATTEMPTS = 3


@workflow.defn(name="LongRunningWorkflow")
class LongRunningWorkflow(HoldHandlers):
    """Batch by batch; after each attempt it looks whether to pause, stop, notify, or go on in a new run."""

    @workflow.init
    def __init__(self, start: LongRunningInput) -> None:
        self._start = start
        total = len(start.items) or start.total
        first = min(start.first, total)
        self._carried = start.carried or Carried(
            progress=ProgressState(total=total, first=first, checkpoint=first, started_at=workflow.now())
        )
        super().__init__(timedelta(seconds=start.retry_seconds), self._carried.decisions)
        self._progress = self._carried.progress
        fruitless = self._carried.fruitless_attempts
        self._attempts = Attempts(start.batch_attempts, start.retry_seconds, fruitless)
        self._page: list[Any] = []
        self._page_first = 0

    @workflow.run
    async def run(self, start: LongRunningInput) -> LongRunningResult:
        try:
            return await self._run_to_end()
        except (asyncio.CancelledError, ActivityError) as error:
            # Without a reason the worker only drops it from its cache.
            if workflow.cancellation_reason() is not None and is_cancelled_exception(error):
                self._carried.cancelled_by, self._carried.over = self._carried.cancelled_by or "", True
                self.show()
            raise

    async def _run_to_end(self) -> LongRunningResult:
        self.show()
        if not self._carried.targets:
            start = self._start
            self._carried.targets = await activities_of_run(start.activity, start.pages, start.notify)
        while not self._progress.over and not self._carried.cancelled:
            if self._carried.paused:
                await self._pause()
            elif self._full():
                await self._renew()
            else:
                await self._next_attempt()
        self._carried.over = True
        outcome = self._stage()
        await self._notify(outcome)
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.show()
        counts = self._progress.model_dump(include={"done", "failed", "failed_items"})
        return LongRunningResult(outcome=outcome, total=self._progress.total - self._progress.first, **counts)

    async def _next_attempt(self) -> None:
        """One attempt of the next batch. What it did is recorded; the rest is part of the batch after it."""
        indices = self._progress.next_batch(self._start.batch_size, self._start.checkpoint_every)
        items = await self._items(indices)
        if items is None:
            return
        if not items:
            self._progress.end_at_position()
            return
        key = self._start.key or workflow.info().first_execution_run_id
        batch = Batch(key=key, first=indices.start, items=items)
        attempt = await self._unless_stopped(self._attempt(batch))
        if attempt is None:
            return
        results, wait = attempt.results, self._attempts.wait_after(attempt)
        if self._attempts.used_up:
            results, self._attempts.failed = complete(batch, None, attempt.error).results, 0
        elif wait:
            await self._wait(wait)
        if self._progress.record(results):
            self.updated_at = workflow.now()
            if self._progress.reach_checkpoint(self._start.checkpoint_every):
                await self._checkpoint()

    async def _items(self, indices: range) -> list[Any] | None:
        """The items of these indices; empty: there are no more. None: stopped before they were read."""
        start = self._start
        if start.items:
            return start.items[indices.start : indices.stop]
        if not start.pages:
            return list(indices)
        if not self._page_first <= indices.start < self._page_first + len(self._page):
            limit = min(max(start.checkpoint_every, start.batch_size), self._progress.total - indices.start)
            query = PageQuery(reference=start.reference, first=indices.start, limit=limit)
            page = await self._unless_stopped(self._read_page(query), at_once=True)
            if page is None:
                return None
            self._page, self._page_first = page.items[:limit], indices.start
        offset = indices.start - self._page_first
        return self._page[offset : offset + len(indices)]

    async def _attempt(self, batch: Batch) -> Attempt:
        start, target = self._start, self._carried.targets[self._start.activity]
        return await attempt_batch(
            self.calls,
            target.name,
            batch,
            seconds=start.batch_seconds,
            heartbeat_seconds=start.heartbeat_seconds,
            queue=target.queue,
        )

    async def _read_page(self, query: PageQuery) -> Page:
        target = self._carried.targets[self._start.pages]
        page: Page = await self.calls.call(
            target.name,
            *target.arguments(query),
            result_type=Page,
            task_queue=target.queue,
            summary=f"read items {query.first + 1} to {query.first + query.limit}",
            start_to_close_timeout=timedelta(seconds=self._start.batch_seconds),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=60)),
        )
        return page

    async def _unless_stopped(self, work: Coroutine[Any, Any, R], *, at_once: bool = False) -> R | None:
        """Its result. None: it was ended by a pause, a cancel or a full history while a breaker held it; with
        `at_once` whatever it did, as what only reads may end at any time."""
        task = asyncio.create_task(work)
        await workflow.wait_condition(
            lambda: (
                task.done() or ((at_once or bool(self.calls.held)) and (self._carried.stops or self._full()))
            )
        )
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    async def _wait(self, seconds: float) -> None:
        """Until the next attempt, or until it is paused or cancelled."""
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._carried.stops, timeout=seconds, timeout_summary="try the batch again"
            )

    async def _checkpoint(self) -> None:
        """The memo has it too: it can be read when no worker runs, and after a terminate."""
        progress, start = self._progress, self._start
        workflow.upsert_memo({"checkpoint": progress.position, "failed": progress.failed})
        quarter = progress.reach_quarter()
        if progress.too_many(start.failure_limit):
            await self._notify("failed")
            handled = progress.done + progress.failed
            raise ApplicationError(
                f"{progress.failed} of {handled} items failed, more than the limit of "
                f"{start.failure_limit:.0%}. The last: {progress.failed_items[-1].error}",
                progress.status(),
                type=TOO_MANY_FAILURES,
                non_retryable=True,
            )
        if not progress.over and (quarter or start.notify_at == "checkpoints"):
            await self._notify("checkpoint" if start.notify_at == "checkpoints" else "quarter")

    async def _notify(self, event: str) -> None:
        """Send a notice; one that cannot be sent is logged, and stops nothing."""
        if not self._start.notify:
            return
        progress, info, target = self._progress, workflow.info(), self._carried.targets[self._start.notify]
        notice = Notice(
            key=f"{info.first_execution_run_id}/{event}/{progress.position}",
            workflow_id=info.workflow_id,
            event=event,
            total=progress.total - progress.first,
            done=progress.done,
            failed=progress.failed,
            failures=progress.failed_items[self._carried.notified_failures :],
        )
        known = len(progress.failed_items)
        try:
            await workflow.execute_activity(
                target.name,
                args=target.arguments(notice),
                task_queue=target.queue,
                summary=f"notice: {event}",
                start_to_close_timeout=timedelta(seconds=self._start.batch_seconds),
                retry_policy=RetryPolicy(
                    maximum_interval=timedelta(seconds=60), maximum_attempts=NOTICE_ATTEMPTS
                ),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("The notice %s could not be sent: %s", event, reason(error))
        else:
            self._carried.notified_failures = known

    async def _pause(self) -> None:
        self.show()
        await workflow.wait_condition(lambda: not self._carried.paused)
        self.show()

    async def _renew(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        update = {"decisions": self.decisions, "fruitless_attempts": self._attempts.failed}
        carried = self._carried.model_copy(update=update)
        workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    def _stage(self) -> str:
        if self._carried.cancelled:
            return "cancelled" if self._carried.over else "cancelling"
        if self._carried.over:
            return "completed"
        return "paused" if self._carried.paused else "running"

    def attributes(self) -> dict[SearchAttributeKey[Any], Any]:
        """See base class."""
        return {STAGE: self._stage()}

    def _full(self) -> bool:
        return should_continue_as_new(self._start.most_events)

    @workflow.signal(name="pause", description="Stop after the batch under way. Body: a Decision.")
    @lenient_signal
    def pause(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._carried.pause)

    @workflow.signal(name="unpause", description="Go on. Body: a Decision.")
    @lenient_signal
    def unpause(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._carried.unpause)

    @workflow.signal(name="cancel", description="End after the batch under way. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._carried.cancel)

    @workflow.query(name="get_progress", description="How many of how many, and which failed.")
    def progress(self) -> Progress:
        return self._progress.status(paused=self._carried.paused)

    @workflow.query(name="get_status", description="Stage, and what happens next.")
    def status(self) -> Status:
        stage, held, by = self._stage(), self.calls.held, self._carried.paused_by
        summary = {
            "paused": f"Paused{f' by {by}' if by else ''}; it goes on when it is unpaused.",
            "cancelling": "It stops after the batch under way.",
            "running": f"Next is item {self._progress.position + 1} of {self._progress.total}.",
        }.get(stage, "Nothing more happens.")
        if held and stage == "running":
            summary = f"Held until {', '.join(held)} works again; then it goes on by itself."
        return Status(
            status=stage,
            stage=stage,
            updated_at=self.updated_at,
            waiting_for=self.waiting_for(),
            summary=summary,
        )
