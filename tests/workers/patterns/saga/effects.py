"""A witness of effects, and how a test lets names resolve to its own activities."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.patterns.breaker.names import circuit_open
from workers.patterns.events.messages import Effect
from workers.registry.queues import PLATFORM
from workers.registry.registry import Queue, registry


class Ledger:
    """Does each effect once a key.

    failing: event types that it declines. refused: its breaker is open, and refuses as its interceptor would.
    answers: cleared, calls hang until it is set.
    most_running: how many calls ran at once, at most. begun: when each call began.
    """

    def __init__(self) -> None:
        self.done: dict[str, Effect] = {}
        self.calls: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.down = self.refused = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.running = self.most_running = 0
        self.begun: list[float] = []

    @property
    def activity(self) -> Callable[..., Any]:
        @activity.defn(name="post")
        async def post(effect: Effect) -> None:
            self.begun.append(time.monotonic())
            self.running += 1
            self.most_running = max(self.running, self.most_running)
            try:
                await self._post(effect)
            finally:
                self.running -= 1

        return post

    async def _post(self, effect: Effect) -> None:
        self.calls[effect.idempotency_key] += 1
        if self.refused:
            raise circuit_open("ledger", never_sent=activity.info().attempt == 1)
        if self.down:
            raise ApplicationError("The ledger is away.")
        if effect.type in self.failing:
            raise ApplicationError("Not with us.", type="Declined", non_retryable=True)
        await self.answers.wait()
        self.done.setdefault(effect.idempotency_key, effect)


def known(monkeypatch: pytest.MonkeyPatch, queue: str, *activities: Callable[..., Any]) -> list[Any]:
    """Register activities for a test's queue, as an app would; returns them for its worker."""
    monkeypatch.setitem(registry.queues, queue, Queue(queue, activities=activities))
    return [*activities]


@asynccontextmanager
async def running(worker: Any, queue: str, workflow: type, activities: list[Any]) -> AsyncIterator[None]:
    """Workers for the queue, and for the platform's, where names are resolved."""
    async with worker(PLATFORM), worker(queue, workflows=[workflow], activities=activities):
        yield
