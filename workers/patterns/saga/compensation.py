"""The compensation of a saga: what may have happened is undone, last first, whatever cancellations come.

A compensation that fails for good raises an alert and waits for an operator. Those that need it undone
first wait with it; the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError

from workers.contracts import CompensationStatus, SagaState, StepState, StepStatus
from workers.patterns.alerts.calls import Alerts
from workers.patterns.guarded_calls import GuardedCalls, refused_at
from workers.patterns.saga.ledger import CHOICES, Entry, Ledger
from workers.patterns.saga.messages import UndoCall
from workers.patterns.saga.steps import ActivityOptions, history_full
from workers.shielding import wait_until

COMPENSATION_EVENTS, COMPENSATION_BYTES = 45_000, 45_000_000
"""Of a run's history: from here on a compensation that a breaker holds waits for an operator instead of
retrying."""

MakeUndo = Callable[[str, str, str, dict[str, Any] | None], Any]
"""Step key, undo key, reason, input that an operator edited -> the compensation's argument."""


class Operator:
    """Alerts an operator when something is stuck, and waits for the signal `resolve_compensation`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._alerts = Alerts()

    async def choice(
        self, entry: Entry, stuck: StepStatus | CompensationStatus, title: str, then: SagaState
    ) -> str:
        """Raise an alert about the step or its compensation, and wait for the choice: retry, skip or
        settled_outside. After it the saga is in the state `then`, unless something else is stuck."""
        stuck.status, entry.choice = StepState.STUCK, ""
        self._ledger.go(SagaState.STUCK)
        name = entry.status.name
        alert_id = f"{entry.undo_key}/stuck/{entry.runs + entry.undo_runs}"
        self._alerts.raise_soon(alert_id, f"{title}: {name}", detail=stuck.error or "", step=name)
        await wait_until(lambda: bool(entry.choice))
        stuck.status = CHOICES[entry.choice]
        if not any(other.stuck for other in self._ledger.entries):
            self._ledger.go(then)
        return entry.choice


@dataclass
class Compensator:
    """`make`: the argument of compensations in the workflow's own terms; None: they take an UndoCall."""

    ledger: Ledger
    calls: GuardedCalls
    operator: Operator
    make: MakeUndo | None
    options: ActivityOptions

    async def undo_all(self, reason: str) -> None:
        """Undo all that is owed. Returns when each is undone, or an operator has skipped or settled it."""
        owed = self.ledger.owed()
        self.ledger.compensating = True
        if owed:
            self.ledger.go(SagaState.COMPENSATING)
        order = reversed([*enumerate(owed, 1)])
        await asyncio.gather(*(self._settle(entry, owed[number:], reason) for number, entry in order))
        self.ledger.go(SagaState.COMPENSATED)

    async def _settle(self, entry: Entry, later: list[Entry], reason: str) -> None:
        """Undo one step once its turn has come, as often as an operator says."""
        await wait_until(lambda: _is_next(entry, later))
        choice = "retry"
        while choice == "retry" and not await self._undo(entry, reason):
            title = "A compensation failed for good"
            choice = await self.operator.choice(entry, entry.undo, title, SagaState.COMPENSATING)

    async def _undo(self, entry: Entry, reason: str) -> bool:
        """False: it failed for good. While a breaker refuses it, it is held."""
        lease = ""
        while entry.has_undo:
            entry.undo_starts()
            try:
                await self._attempt(entry, reason, lease)
            except (ActivityError, ApplicationError) as error:
                dependency, _ = refused_at(error)
                entry.undo.error = str(error.cause or error)
                if not dependency or history_full(COMPENSATION_EVENTS, COMPENSATION_BYTES):
                    return False
                entry.undo.status = StepState.PENDING
                lease = await self.calls.wait(dependency)
            else:
                entry.undo.status = StepState.DONE
                return True
        entry.undo.error = entry.status.error
        return False

    async def _attempt(self, entry: Entry, reason: str, lease: str) -> None:
        options: ActivityOptions = {**self.options}
        if entry.undo_retry is not None:
            options["retry_policy"] = entry.undo_retry.policy()
        if entry.undo_queue:
            options["task_queue"] = entry.undo_queue
        await self.calls.start(
            entry.undo.name,
            self._argument(entry, reason),
            idempotency_key=entry.undo_key,
            lease=lease,
            activity_id=entry.undo.activity_id,
            summary=entry.undo.name.replace("_", " "),
            **options,
        )

    def _argument(self, entry: Entry, reason: str) -> Any:
        key = entry.status.idempotency_key
        if self.make is not None and not entry.from_child:
            return self.make(key, entry.undo_key, reason, entry.undo_edited)
        return UndoCall(
            idempotency_key=key,
            undo_key=entry.undo_key,
            reason=reason,
            input=entry.undo_input if entry.undo_edited is None else entry.undo_edited,
            result=entry.result,
        )


def _is_next(entry: Entry, later: list[Entry]) -> bool:
    """Is each of the `later` ones undone or settled? Those that wait for an operator or a breaker, or for
    one that does, let pass what does not need them undone first."""
    waiting: list[Entry] = []
    for other in reversed(later):
        if other.undo_finished:
            continue
        behind = other.undo_runs == 0 and any(other.needs_undone(first) for first in waiting)
        if not (other.undo_waits or behind):
            return False
        waiting.append(other)
    return not any(entry.needs_undone(other) for other in waiting)
