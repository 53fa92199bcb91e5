"""Batch activities: a function for one item becomes an activity for many, which goes on where it stopped."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

from workers.contracts import CIRCUIT_OPEN
from workers.patterns.batches.batches import WORKER_SHUTDOWN, Batch, BatchResult, ItemResult
from workers.patterns.breaker.names import UNAVAILABLE

HEARTBEATS = 3  # within the heartbeat timeout
NO_TIMEOUT_SECONDS = 1.0  # between heartbeats of an activity that was called without a heartbeat timeout
MAX_VALUE = 100_000  # bytes of the JSON of one item's value
MAX_RESULTS = 256_000  # bytes of all results of one attempt: they travel in each heartbeat


class _Attempt:
    """One attempt of a batch: its results so far, which heartbeats, and errors that end it, carry on."""

    def __init__(self, batch: Batch, item_type: Any) -> None:
        self._batch = batch
        self._adapter = TypeAdapter(item_type)
        known = activity.info().heartbeat_details
        self.results = TypeAdapter(list[ItemResult]).validate_python(known[0]) if known else []
        self._bytes = sum(map(_size, self.results))
        timeout = activity.info().heartbeat_timeout
        self._every = timeout.total_seconds() / HEARTBEATS if timeout else NO_TIMEOUT_SECONDS
        self._last_heartbeat = 0.0

    def items(self) -> Iterator[tuple[Any, str]]:
        """The items that are left, with their keys; one that cannot be read has failed."""
        for raw in self._batch.items[len(self.results) :]:
            if self._bytes >= MAX_RESULTS:
                return
            self.stop_if_requested()
            index = self._batch.first + len(self.results)
            try:
                item = self._adapter.validate_python(raw)
            except ValidationError as error:
                problems = "; ".join(
                    f"{'.'.join(map(str, part['loc'])) or 'item'}: {part['msg']}"
                    for part in error.errors()[:5]
                )
                self._record(error=f"Unreadable: {problems}")
            else:
                yield item, f"{self._batch.key}/{index}"

    def done(self, value: Any) -> None:
        """Record the result of the item. A value that cannot be sent must not cost the others theirs."""
        try:
            plain = to_jsonable_python(value)
            if _size(ItemResult(index=0, value=plain)) > MAX_VALUE:
                raise ValueError(f"it has more than {MAX_VALUE:,} bytes")
        except Exception as error:
            kind = getattr(error, "type", None) or type(error).__name__
            self._record(error=f"Done, but its value cannot be returned: {kind}: {error}")
        else:
            self._record(plain)

    def failed(self, error: Exception) -> None:
        """Record the error as the item's own, or raise: outages and cancellation say nothing about it."""
        kind = getattr(error, "type", None) or type(error).__name__
        message = str(getattr(error, "message", error))
        if isinstance(error, CancelledError) or (kind == CIRCUIT_OPEN and not self.results):
            raise error
        if kind in (UNAVAILABLE, CIRCUIT_OPEN):
            self._heartbeat()
            raise ApplicationError(message, self._results(), type=UNAVAILABLE) from error
        self._record(error=f"{kind}: {message}")

    def result(self) -> BatchResult:
        return BatchResult(results=self.results, more=len(self.results) < len(self._batch.items))

    @contextmanager
    def heartbeating(self, asynchronous: bool) -> Iterator[None]:
        """Heartbeat during an item that takes long too, so that only a worker that is dead looks dead."""
        if activity.info().heartbeat_timeout is None:
            yield
            return
        stop = self._heartbeat_in_task() if asynchronous else self._heartbeat_in_thread()
        try:
            yield
        finally:
            stop()

    def _record(self, value: Any = None, error: str = "") -> None:
        index = self._batch.first + len(self.results)
        # an error may quote text that has no UTF-8
        result = ItemResult(index=index, value=value, error=error[:500].encode(errors="replace").decode())
        self._bytes += _size(result)
        self.results.append(result)
        # Not after each item: every heartbeat holds all results, so that would cost their square.
        if time.monotonic() - self._last_heartbeat >= self._every:
            self._heartbeat()

    def _results(self) -> list[dict[str, Any]]:
        return [result.model_dump(mode="json") for result in [*self.results]]

    def _heartbeat(self) -> None:
        self._last_heartbeat = time.monotonic()
        activity.heartbeat(self._results())

    def stop_if_requested(self) -> None:
        """Raise when the worker shuts down, so that another goes on, and when the batch is cancelled. Called
        between items, as an item must not be interrupted halfway."""
        if activity.is_worker_shutdown():
            self._heartbeat()
            raise ApplicationError(
                "The worker is shutting down; another goes on with the batch.",
                self._results(),
                type=WORKER_SHUTDOWN,
                category=ApplicationErrorCategory.BENIGN,
                next_retry_delay=timedelta(milliseconds=100),
            )
        if activity.is_cancelled():
            self._heartbeat()  # an operator may have paused it, to go on later
            raise CancelledError("The batch was cancelled.")

    def _heartbeat_in_task(self) -> Callable[[], object]:
        async def beat() -> None:
            while True:
                await asyncio.sleep(self._every)
                self._heartbeat()

        return asyncio.create_task(beat()).cancel

    def _heartbeat_in_thread(self) -> Callable[[], object]:
        over, context = threading.Event(), contextvars.copy_context()

        def beat() -> None:
            while not over.wait(self._every):
                context.run(self._heartbeat)

        name = f"heartbeats of {activity.info().activity_id}"
        thread = threading.Thread(target=beat, name=name, daemon=True)
        thread.start()

        def stop() -> None:
            over.set()
            thread.join()

        return stop


def _size(result: ItemResult) -> int:
    """Bytes of the result as it is sent. Raises what the worker's converter says of it, a secret for example:
    a heartbeat that cannot be encoded would cancel the whole batch."""
    payload = activity.payload_converter().to_payload(result.model_dump(mode="json"))
    return len(payload.data)


def batch_activity(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make `fn(item, key)`, sync or async, an activity that takes a Batch and returns a BatchResult.

    Items become what the type hint of `fn`'s first parameter says. An exception is that item's failure and
    the others go on, but DependencyUnavailable ends the attempt, and the next one goes on from that item.
    After a worker's death the items since the last heartbeat run again, so `fn` does its work once a `key`.
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
        attempt = _Attempt(batch, item_type)
        with attempt.heartbeating(asynchronous=True):
            for item, key in attempt.items():
                try:
                    value = await fn(item, key)
                except asyncio.CancelledError:
                    attempt.stop_if_requested()
                    raise
                except Exception as error:
                    attempt.failed(error)
                else:
                    attempt.done(value)
        return attempt.result()

    return run


def _for_sync(fn: Callable[..., Any], item_type: Any) -> Callable[..., Any]:
    def run(batch: Batch) -> BatchResult:
        attempt = _Attempt(batch, item_type)
        with attempt.heartbeating(asynchronous=False):
            for item, key in attempt.items():
                try:
                    value = fn(item, key)
                except Exception as error:
                    attempt.failed(error)
                else:
                    attempt.done(value)
        return attempt.result()

    return run
