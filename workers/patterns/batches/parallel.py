"""Parallel calls whose failures stay their own: one that fails takes no other with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

R = TypeVar("R")


@dataclass(frozen=True)
class CallResult(Generic[R]):
    """How one call ended: with a value, or with an error."""

    value: R | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def get(self) -> R:
        """The value. Raises the error when there is one."""
        if self.error is not None:
            raise self.error
        return cast(R, self.value)


async def gather(calls: Iterable[Callable[[], Awaitable[R]]], *, limit: int = 0) -> list[CallResult[R]]:
    """Await all calls, at most `limit` at once (0: all), and return how each ended, in their order.

    Calls begin in their order, so it replays. A cancellation reaches every call that is under way, is waited
    for, and passes on; a call that something else cancelled is a failure like others.
    """
    waiting = list(calls)
    gate = asyncio.Semaphore(limit or len(waiting) or 1)

    async def ended(call: Callable[[], Awaitable[R]]) -> CallResult[R]:
        async with gate:
            try:
                return CallResult(value=await call())
            except Exception as error:
                return CallResult(error=error)

    # Cancelled, asyncio.gather cancels all, waits for all, and raises, whatever they return by then.
    return await asyncio.gather(*(ended(call) for call in waiting))
