"""Cancelling the steps of a saga: accepted or refused once, and then a state that every step looks at.

Cancelling the task that runs the steps only wakes it. A cancellation and the completion of an activity may
share one workflow task, and then the task ends with that completion and the cancellation is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from temporalio.exceptions import FailureError

from workers.contracts import Decision, Outcome
from workers.patterns.decisions import DecisionResult

T = TypeVar("T")


class Cancellation:
    """`subject`: what verdicts call the workflow. `objection`: why it cannot be cancelled now, or ""."""

    def __init__(self, subject: str, objection: Callable[[], str]) -> None:
        self.cancelled_by: str | None = None
        self._subject, self._objection = subject, objection
        self._task: asyncio.Task[Any] | None = None

    async def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Run `steps` to their end. Raises what they raise, and CancelledError when they were cancelled.

        A cancellation may come in the moment in which they end by themselves: that end counts.
        """
        task = asyncio.create_task(steps)
        self._task = task
        if self.cancelled_by is not None:  # the signal came with the first workflow task
            task.cancel()
        try:
            return await task
        except (asyncio.CancelledError, FailureError):
            if task.cancelled():
                raise
            return task.result()

    def cancel(self, decision: Decision) -> DecisionResult:
        """The verdict on the signal `cancel`; applied, no further step begins."""
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
