"""The books of a saga: what was tried, what may have happened, what has been undone. Pure.

The rule that everything hangs on: what may have happened is undone, once, last first. A step may have
happened from the moment it was started until a refusal by its own key says that it did not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workers.contracts import (
    CompensationStatus,
    Decision,
    Money,
    Outcome,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from workers.patterns.decisions import DecisionResult
from workers.patterns.saga.messages import Compensation, Retry

CHOICES = ("retry", "skip", "settled_outside")
_MAYBE = (StepState.RUNNING, StepState.DONE, StepState.UNKNOWN)
_UNDONE = (StepState.DONE, StepState.SETTLED)


@dataclass
class Entry:
    """A step. `by_hand`: nobody knows what would undo it, so only a person can settle it.
    `foreign`: a nested saga handed it over, so its undo takes an UndoCall. `editable`: the step itself may be
    tried again with another input, once it is known that it has not happened with the old one."""

    status: StepStatus
    label: str
    undo_input: Any = None
    undo_queue: str = ""
    undo_retry: Retry | None = None
    result: Any = None
    touched: bool = False  # it may have reached the outside
    runs: int = 0
    revision: int = 1
    undo_runs: int = 0
    edited: dict[str, Any] | None = None
    choice: str = ""
    by_hand: bool = False
    foreign: bool = False
    editable: bool = False

    @property
    def maybe(self) -> bool:
        """It happened, or may have."""
        return self.touched or self.status.status in _MAYBE

    @property
    def undo(self) -> CompensationStatus:
        assert self.status.compensation is not None
        return self.status.compensation

    @property
    def undo_key(self) -> str:
        return f"{self.status.idempotency_key}/undo/{self.revision}"

    @property
    def stuck(self) -> bool:
        """Its compensation, or a step from which there is no way back, waits for an operator."""
        return StepState.STUCK in (self.status.status, self.status.compensation and self.undo.status)

    def starts(self) -> None:
        self.runs += 1
        self.status.activity_id = numbered(self.label, self.runs)
        self.status.status, self.status.error = StepState.RUNNING, None

    def done(self, result: Any) -> None:
        self.status.status, self.touched, self.result = StepState.DONE, True, result

    def unknown(self, why: str) -> None:
        self.touched = True
        self.status.status, self.status.error = StepState.UNKNOWN, why

    def refused(self, why: str) -> None:
        """The other side answers by key: its refusal says that nothing happened."""
        self.touched = False
        self.status.status, self.status.error = StepState.FAILED, why

    def held(self, attempt: int, why: str) -> None:
        """A breaker refused try number `attempt`; the first one never left this house."""
        self.touched = self.touched or attempt > 1
        self.status.status = StepState.UNKNOWN if self.touched else StepState.PENDING
        self.status.error = why

    def undo_starts(self) -> None:
        self.choice, self.undo_runs = "", self.undo_runs + 1
        self.undo.activity_id = "" if self.by_hand else numbered(f"{self.label}/undo", self.undo_runs)
        self.undo.status, self.undo.error = StepState.RUNNING, None


class Ledger:
    """All entries in the order of their registration. `changed` is called whenever `state` is another."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.state = SagaState.RUNNING
        self.entries: list[Entry] = []
        self.unwinding = False
        self._changed = changed

    def go(self, state: SagaState) -> None:
        if self.state is not state:
            self.state = state
            self._changed()

    def register(self, prefix: str, status: StepStatus, *, undo: str = "", **more: Any) -> Entry:
        """Book a step before it runs. Its key is `<prefix>/<name>/<occurrence>`."""
        occurrence = 1 + sum(
            1 for entry in self.entries if not entry.foreign and entry.status.name == status.name
        )
        status.idempotency_key = f"{prefix}/{status.name}/{occurrence}"
        status.compensation = CompensationStatus(name=undo) if undo else None
        label = status.name if occurrence == 1 else f"{status.name}/{occurrence}"
        entry = Entry(status, label, **more)
        self.entries.append(entry)
        return entry

    def take_over(self, child: Entry, compensations: list[Compensation]) -> None:
        """Book what would undo a nested saga, which has completed, as our own."""
        for number, item in enumerate(compensations, 1):
            status = StepStatus(
                name=item.step,
                status=StepState.DONE,
                amount=item.amount,
                idempotency_key=item.idempotency_key,
                group=child.status.group,
                child_workflow_id=item.child_workflow_id or child.status.child_workflow_id,
                compensation=CompensationStatus(name=item.undo),
            )
            entry = Entry(status, f"{child.label}/{number}/{item.step}", touched=True, foreign=True)
            entry.undo_input, entry.result = item.input, item.result
            entry.undo_queue, entry.undo_retry = item.queue, item.retry
            self.entries.append(entry)

    @property
    def committed(self) -> bool:
        """The point of no return is behind us."""
        return self._point() >= 0

    def _point(self) -> int:
        points = [
            number
            for number, entry in enumerate(self.entries)
            if entry.status.point_of_no_return and entry.status.status == StepState.DONE
        ]
        return max(points, default=-1)

    def owed(self) -> list[Entry]:
        """What may have happened and has an undo, in order; only what came after the point of no return."""
        return [e for e in self.entries[self._point() + 1 :] if e.maybe and e.status.compensation]

    def compensations(self) -> list[Compensation]:
        """What would undo this saga, for the one around it."""
        return [
            Compensation(
                step=entry.status.name,
                undo=entry.undo.name,
                idempotency_key=entry.status.idempotency_key,
                input=entry.undo_input,
                result=entry.result,
                amount=entry.status.amount,
                queue=entry.undo_queue,
                retry=entry.undo_retry,
                child_workflow_id=entry.status.child_workflow_id,
            )
            for entry in self.owed()
        ]

    def exposure(self) -> list[Money]:
        """A sum for each currency of what is, or may be, in effect and not undone."""
        sums: dict[str, int] = {}
        for entry in self.entries:
            amount = entry.status.amount
            undone = entry.status.compensation is not None and entry.undo.status in _UNDONE
            if amount is not None and entry.maybe and not undone:
                sums[amount.currency] = sums.get(amount.currency, 0) + amount.minor
        return [Money(minor=minor, currency=currency) for currency, minor in sorted(sums.items()) if minor]

    def status(self) -> SagaStatus:
        return SagaStatus(
            state=self.state, steps=[entry.status for entry in self.entries], exposure=self.exposure()
        )

    def resolve(self, decision: Decision) -> DecisionResult:
        """An operator's word on what is stuck: retry (an undo with edited input), skip, settled_outside."""
        entry = next((e for e in self.entries if e.stuck and decision.step in ("", *_names(e))), None)
        if entry is None or entry.choice:
            return Outcome.REFUSED, "No compensation of that step is stuck.", ""
        if decision.choice not in CHOICES:
            return Outcome.REFUSED, f"The choice must be one of {', '.join(CHOICES)}.", ""
        if decision.choice != "retry" and not decision.evidence.strip():
            return Outcome.REFUSED, f"To choose {decision.choice}, say what shows that it is right.", ""
        retry, forward = decision.choice == "retry", entry.status.status == StepState.STUCK
        if retry and entry.by_hand:
            return Outcome.REFUSED, "Nobody knows what would undo it; skip it or settle it outside.", ""
        if retry and forward and decision.input is not None and (entry.touched or not entry.editable):
            return Outcome.REFUSED, f"{entry.status.name} can only be tried again with the same input.", ""
        entry.choice = decision.choice
        if retry and decision.input is not None:
            entry.edited = decision.input
            entry.revision += 1  # another input is another effect, so it needs another key
        what = entry.status.name if forward else entry.undo.name
        return Outcome.APPLIED, f"{what}: {decision.choice.replace('_', ' ')}.", ""


def numbered(name: str, run: int) -> str:
    return name if run == 1 else f"{name}#{run}"


def _names(entry: Entry) -> tuple[str, ...]:
    undo = entry.status.compensation
    return (entry.status.name, undo.name) if undo else (entry.status.name,)
