"""The way forward as a whole: one task that the signal `cancel` stops, unless it is too late for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from temporalio.exceptions import FailureError

from workers.contracts import Decision, Outcome
from workers.patterns.decisions import DecisionResult

T = TypeVar("T")


class CancellableForward(Generic[T]):
    """`subject` is how sentences call the workflow; `objection` says why it cannot be cancelled, or ""."""

    def __init__(self, *, subject: str, objection: Callable[[], str]) -> None:
        self.cancelled_by: str | None = None
        self._subject, self._objection = subject, objection
        self._task: asyncio.Task[T] | None = None

    async def go(self, way: Coroutine[Any, Any, T]) -> T:
        """Run `way` to its end and answer what it answers, or raise what it raises.

        A cancellation may come in the moment in which the way ends by itself: that end counts.
        """
        task = asyncio.create_task(way)
        self._task = task
        if self.cancelled_by is not None:  # the signal was there before the first task
            task.cancel()
        try:
            return await task
        except (asyncio.CancelledError, FailureError):
            if task.cancelled():
                raise
            return task.result()

    def cancel(self, decision: Decision) -> DecisionResult:
        """The judgement on the signal `cancel`; when it applies, the way forward is cancelled."""
        if self.cancelled_by is not None:
            return Outcome.ALREADY_DECIDED, f"It is being undone already. {self.cancelled_by}", ""
        if objection := self._objection():
            return Outcome.REFUSED, objection, ""
        if self._task is not None and self._task.done():
            return Outcome.REFUSED, f"{self._subject} is ending already.", ""
        who = f" by {decision.actor}" if decision.actor else ""
        self.cancelled_by = f"Cancelled{who}{f': {decision.reason}' if decision.reason else '.'}"
        if self._task is not None:
            self._task.cancel()
        return Outcome.APPLIED, f"{self._subject} is being cancelled; what was done is undone.", ""
