"""The way back of a saga: what may have happened is undone, last first, in a task no cancellation reaches.

A compensation that fails for good raises an alert and waits for an operator; those after it wait too, as the
order of undo is part of the promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from workers.contracts import SagaState, StepState
from workers.patterns.alerts.calls import Alerts
from workers.patterns.guarded_calls import GuardedCalls, refused_at
from workers.patterns.saga.ledger import Entry, Ledger
from workers.patterns.saga.messages import Retry, UndoCall

R = TypeVar("R")

MakeUndo = Callable[[str, str, str, dict[str, Any] | None], Any]
"""Step key, undo key, reason, input that an operator edited -> the undo's argument."""


async def run_shielded(work: Coroutine[Any, Any, R]) -> R:
    """Await `work` in a task of its own, again after every cancellation, of which each is delivered once."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()


class Operator:
    """The person who is called when something is stuck. `alerts`: asked then, whether an alert is raised."""

    def __init__(self, ledger: Ledger, alerts: Callable[[], bool] = lambda: True) -> None:
        self._ledger, self._wanted = ledger, alerts
        self._alerts = Alerts()

    async def choice(self, entry: Entry, title: str, detail: str) -> str:
        """Say that it is stuck, raise an alert, and wait for the choice."""
        entry.choice = ""
        self._ledger.go(SagaState.STUCK)
        if self._wanted():
            name = entry.status.name
            alert_id = f"{entry.undo_key}/stuck/{entry.runs + entry.undo_runs}"
            self._alerts.raise_soon(alert_id, f"{title}: {name}", detail=detail, step=name)
        await workflow.wait_condition(lambda: bool(entry.choice))
        return entry.choice


class Compensator:
    """`make`: None for undos that take an UndoCall."""

    def __init__(
        self,
        ledger: Ledger,
        holds: GuardedCalls,
        *,
        make: MakeUndo | None,
        operator: Operator,
        seconds: float,
    ) -> None:
        self._ledger, self._holds = ledger, holds
        self._make, self._operator = make, operator
        self._seconds = seconds

    async def undo(self, reason: str, retry: Retry) -> None:
        """Undo all that is owed, each tried as its own policy says, or as `retry`."""
        owed = list(reversed(self._ledger.owed()))
        self._ledger.unwinding = True
        if owed:
            self._ledger.go(SagaState.COMPENSATING)
        for entry in owed:
            while not await self._undone(entry, reason, entry.undo_retry or retry):
                title = "A compensation failed for good"
                choice = await self._operator.choice(entry, title, entry.undo.error or "")
                self._ledger.go(SagaState.COMPENSATING)
                if choice != "retry":
                    entry.undo.status = settled(choice)
                    break
        self._ledger.go(SagaState.COMPENSATED)

    async def _undone(self, entry: Entry, reason: str, retry: Retry) -> bool:
        """False: it failed for good. A breaker's refusal is no failure, it only makes it wait."""
        lease = ""
        while True:
            entry.undo_starts()
            if entry.by_hand:
                entry.undo.status, entry.undo.error = StepState.STUCK, entry.status.error
                return False
            try:
                await self._attempt(entry, reason, retry, lease)
            except (ActivityError, ApplicationError) as error:
                dependency, _ = refused_at(error)
                entry.undo.status = StepState.PENDING if dependency else StepState.STUCK
                entry.undo.error = str(error.cause or error)
                if not dependency:
                    return False
                lease = await self._holds.wait(dependency)
            else:
                entry.undo.status = StepState.DONE
                return True

    async def _attempt(self, entry: Entry, reason: str, retry: Retry, lease: str) -> None:
        await GuardedCalls.start(
            entry.undo.name,
            self._argument(entry, reason),
            idempotency_key=entry.undo_key,
            lease=lease,
            task_queue=entry.undo_queue or None,
            activity_id=entry.undo.activity_id,
            summary=entry.undo.name.replace("_", " "),
            start_to_close_timeout=timedelta(seconds=self._seconds),
            retry_policy=retry.policy(),
        )

    def _argument(self, entry: Entry, reason: str) -> Any:
        key = entry.status.idempotency_key
        if self._make is not None and not entry.foreign:
            return self._make(key, entry.undo_key, reason, entry.edited)
        return UndoCall(
            idempotency_key=key,
            undo_key=entry.undo_key,
            reason=reason,
            input=entry.undo_input if entry.edited is None else entry.edited,
            result=entry.result,
        )


def settled(choice: str) -> StepState:
    return StepState.SKIPPED if choice == "skip" else StepState.SETTLED
