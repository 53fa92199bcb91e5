"""Batch activities: a function for one item becomes an activity for many, which goes on where it stopped."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

from workers.patterns.batches.batches import Batch, BatchResult, ItemResult
from workers.patterns.breaker.names import CIRCUIT_OPEN, UNAVAILABLE

MOVING_ON = "WorkerShutdown"
BEATS = 3  # within the heartbeat timeout, while an item takes long
OUTAGES = (UNAVAILABLE, CIRCUIT_OPEN)
"""Types of errors that say nothing about the item: the batch stops there, and is tried again later."""


class _Pass:
    """One try of a batch: its results so far, which every heartbeat carries to the next try."""

    def __init__(self, batch: Batch, item_type: Any) -> None:
        self._batch = batch
        self._adapter = TypeAdapter(item_type)
        known = activity.info().heartbeat_details
        self.results = TypeAdapter(list[ItemResult]).validate_python(known[0]) if known else []

    def items(self) -> Iterator[tuple[Any, str]]:
        """The items that are left, with their keys; one that cannot be read has failed."""
        for raw in self._batch.items[len(self.results) :]:
            _pause_for_shutdown()
            index = self._batch.first + len(self.results)
            try:
                item = self._adapter.validate_python(raw)
            except ValidationError as error:
                problems = "; ".join(
                    f"{'.'.join(map(str, part['loc'])) or 'item'}: {part['msg']}"
                    for part in error.errors()[:5]
                )
                self.note(error=f"Unreadable: {problems}")
            else:
                yield item, f"{self._batch.key}/{index}"

    def note(self, value: Any = None, error: str = "") -> None:
        index = self._batch.first + len(self.results)
        plain = to_jsonable_python(value)  # raises before anything is kept
        self.results.append(ItemResult(index=index, value=plain, error=error[:500]))
        self.beat()

    def beat(self) -> None:
        activity.heartbeat([result.model_dump(mode="json") for result in [*self.results]])

    @contextmanager
    def pulse(self, asynchronous: bool) -> Iterator[None]:
        """Beat during an item that takes long too, so that only a worker that is dead looks dead."""
        timeout = activity.info().heartbeat_timeout
        if timeout is None:
            yield
            return
        seconds = timeout.total_seconds() / BEATS
        stop = self._beat_in_task(seconds) if asynchronous else self._beat_in_thread(seconds)
        try:
            yield
        finally:
            stop()

    def _beat_in_task(self, seconds: float) -> Callable[[], object]:
        async def beat() -> None:
            while True:
                await asyncio.sleep(seconds)
                self.beat()

        return asyncio.create_task(beat()).cancel

    def _beat_in_thread(self, seconds: float) -> Callable[[], object]:
        over, context = threading.Event(), contextvars.copy_context()

        def beat() -> None:
            while not over.wait(seconds):
                context.run(self.beat)

        thread = threading.Thread(target=beat, name=f"pulse of {activity.info().activity_id}", daemon=True)
        thread.start()

        def stop() -> None:
            over.set()
            thread.join()

        return stop

    def failed(self, error: Exception) -> None:
        """Keep the error as the item's own. Raises it when it is not."""
        if isinstance(error, CancelledError) or getattr(error, "type", "") in OUTAGES:
            raise error
        kind = getattr(error, "type", None) or type(error).__name__
        self.note(error=f"{kind}: {getattr(error, 'message', error)}")


def _pause_for_shutdown() -> None:
    """Between items: a worker that drains hands the rest to another, a cancelled batch ends."""
    if activity.is_worker_shutdown():
        raise ApplicationError(
            "The worker is shutting down; another goes on with the batch.",
            type=MOVING_ON,
            category=ApplicationErrorCategory.BENIGN,
            next_retry_delay=timedelta(milliseconds=100),
        )
    if activity.is_cancelled():
        raise CancelledError("The batch was cancelled.")


def batch_activity(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make `fn(item, key)`, sync or async, an activity that takes a Batch and returns a BatchResult.

    Items become what the type hint of `fn`'s first parameter says. An exception is that item's failure and
    the others go on, but DependencyUnavailable stops the batch, which is tried again from that item on. After
    a worker's death the items since the last heartbeat run again, so `fn` must do its work once a `key`.
    """

    def make(fn: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(fn).parameters)
        if len(parameters) != 2:
            raise TypeError(f"{fn.__qualname__} must take an item and its idempotency key.")
        item_type = get_type_hints(fn).get(parameters[0], Any)
        made = _for_async(fn, item_type) if inspect.iscoroutinefunction(fn) else _for_sync(fn, item_type)
        made.__name__, made.__qualname__, made.__doc__ = fn.__name__, fn.__qualname__, fn.__doc__
        made.__module__ = fn.__module__
        # An item is never interrupted halfway: cancellation is looked at between items.
        return activity.defn(name=name, no_thread_cancel_exception=True)(made)

    return make


def _for_async(fn: Callable[..., Awaitable[Any]], item_type: Any) -> Callable[..., Any]:
    async def run(batch: Batch) -> BatchResult:
        attempt = _Pass(batch, item_type)
        with attempt.pulse(asynchronous=True):
            for item, key in attempt.items():
                try:
                    attempt.note(await fn(item, key))
                except Exception as error:
                    attempt.failed(error)
        return BatchResult(results=attempt.results)

    return run


def _for_sync(fn: Callable[..., Any], item_type: Any) -> Callable[..., Any]:
    def run(batch: Batch) -> BatchResult:
        attempt = _Pass(batch, item_type)
        with attempt.pulse(asynchronous=False):
            for item, key in attempt.items():
                try:
                    attempt.note(fn(item, key))
                except Exception as error:
                    attempt.failed(error)
        return BatchResult(results=attempt.results)

    return run
