"""The ledger of a saga: what was started, what may have happened, what has been undone. Pure: it has no
clock.

The rule: what was started is undone, once, last first, or committed, or it waits for an operator. Only a
gateway's word that nothing is under the key of a step (workers/contracts/effects.py) makes it "did not
happen": the kind of a failure and the number of an attempt prove nothing, as one may come from after the
effect and the other can be reset by an operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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
from workers.patterns.saga.messages import Compensation, Retry, SagaResult
from workers.patterns.saga.recovery import Recovery

CHOICES = {
    "retry": StepState.PENDING,
    "skip": StepState.SKIPPED,
    "settled_outside": StepState.SETTLED,
}
"""What an operator may choose, and what the step or compensation that was stuck then is."""
OPERATOR = "settle_by_operator"
"""The name of a compensation that no code knows."""
_HAPPENED = (StepState.DONE, StepState.SETTLED)
_FINISHED = (StepState.DONE, StepState.SKIPPED, StepState.SETTLED)


@dataclass
class Entry:
    """A step, in the order of registration.

    `key`: of its first run. `started`: it may have reached the outside. `cancelled`: a cancellation was
    accepted before it was done, so it is no point of no return any more. `undo_after`: names of the steps
    that must be undone before this one; None: all that come after it, but for those of its group.
    `from_child`: a nested saga handed it over; its undo takes an UndoCall. `editable`: the step takes an
    edited input when it is known that it did not happen. `edited`, `undo_edited`: the inputs that an operator
    gave the step and its compensation. `committed_amounts`: what a nested saga did for good."""

    status: StepStatus
    label: str
    key: str
    undo_input: Any = None
    undo_queue: str = ""
    undo_retry: Retry | None = None
    undo_after: frozenset[str] | None = None
    recovery: Recovery | None = None
    editable: bool = False
    from_child: bool = False
    result: Any = None
    started: bool = False
    cancelled: bool = False
    runs: int = 0
    undo_runs: int = 0
    revision: int = 1
    edited: dict[str, Any] | None = None
    undo_edited: dict[str, Any] | None = None
    choice: str = ""
    committed_amounts: list[Money] = field(default_factory=list)
    _started_before: bool = False
    _closed_keys: int = 0

    @property
    def may_have_happened(self) -> bool:
        return self.started or self.status.status in _HAPPENED

    @property
    def undo(self) -> CompensationStatus:
        assert self.status.compensation is not None
        return self.status.compensation

    @property
    def undo_status(self) -> str:
        """A StepState; "" without a compensation."""
        return self.status.compensation.status if self.status.compensation else ""

    @property
    def undo_key(self) -> str:
        return f"{self.status.idempotency_key}/undo/{self.revision}"

    @property
    def has_undo(self) -> bool:
        return self.status.compensation is not None and self.undo.name != OPERATOR

    @property
    def has_effect(self) -> bool:
        """It declares something that must not be forgotten."""
        return bool(self.status.compensation or self.status.amount or self.status.point_of_no_return)

    @property
    def commits(self) -> bool:
        """It is a point of no return that was passed."""
        return self.status.point_of_no_return and self.status.status in _HAPPENED and not self.cancelled

    @property
    def stuck(self) -> bool:
        """The step or its compensation waits for an operator."""
        return StepState.STUCK in (self.status.status, self.undo_status)

    @property
    def undo_finished(self) -> bool:
        return self.undo_status in _FINISHED

    @property
    def undo_waits(self) -> bool:
        """Its compensation waits for an operator or for a breaker."""
        held = self.undo_status == StepState.PENDING and self.undo_runs > 0
        return held or self.undo_status == StepState.STUCK

    @property
    def lost_child(self) -> bool:
        """A nested saga that was ended from outside. It made its own keys, so a second one does all anew."""
        return self.started and bool(self.status.child_workflow_id)

    def needs_undone(self, later: Entry) -> bool:
        """Must `later`, which was registered after this one, be undone before this one is?"""
        if self.undo_after is not None:
            return later.status.name in self.undo_after
        return not (self.status.group and self.status.group == later.status.group)

    def open_key(self) -> str:
        """The key for its next run: another one when a gateway refuses whatever comes under the last."""
        if self._closed_keys:
            self.status.idempotency_key = f"{self.key}/r{self._closed_keys + 1}"
        return self.status.idempotency_key

    def starts(self) -> None:
        self.runs += 1
        self._started_before, self.started = self.started, True
        self.status.activity_id = numbered(self.label, self.runs)
        self.status.status, self.status.error = StepState.RUNNING, None

    def done(self, result: Any) -> None:
        self.status.status, self.result = StepState.DONE, result

    def did_not_happen(self, why: str) -> None:
        """A gateway reported it and has closed the key, or a nested saga undid itself."""
        self._closed_keys += 1
        self._ended(why, started=False)

    def never_sent(self, why: str) -> None:
        """This run of it was not; an earlier one may have happened."""
        self._ended(why, started=self._started_before)

    def failed(self, why: str) -> None:
        """Whether it happened is not known; for a step that declares no effect it does not matter."""
        self._ended(why, started=self.has_effect)

    def lost(self, why: str) -> None:
        """Its outcome is unknown, and no code knows what would undo it."""
        self._ended(why, started=True)
        self.status.compensation = CompensationStatus(name=OPERATOR)

    def held(self, never_sent: bool, why: str) -> None:
        """A breaker refused it. `never_sent`: no attempt of this run of the activity ever left the worker."""
        started = self._started_before if never_sent else True
        self._ended(why, started=started, otherwise=StepState.PENDING)

    def _ended(self, why: str, *, started: bool, otherwise: StepState = StepState.FAILED) -> None:
        self.started, self.status.error = started, why
        self.status.status = StepState.UNKNOWN if started else otherwise

    def retries(self, edited: dict[str, Any] | None) -> None:
        """An operator has the step, or its compensation, run again."""
        if self.status.status == StepState.STUCK:
            if self.lost_child:  # the operator has evidence that it did nothing
                self.started, self.status.compensation = False, None
            self.edited = self.edited if edited is None else edited
        elif edited is not None:
            self.undo_edited = edited
            self.revision += 1  # another input is another effect, so it needs another key

    def undo_starts(self) -> None:
        self.choice, self.undo_runs = "", self.undo_runs + 1
        self.undo.activity_id = numbered(f"{self.label}/undo", self.undo_runs)
        self.undo.status, self.undo.error = StepState.RUNNING, None


class Ledger:
    """All entries in the order of their registration. `changed` is called when `state` changes."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.state = SagaState.RUNNING
        self.entries: list[Entry] = []
        self.compensating = False
        self._changed = changed

    def go(self, state: SagaState) -> None:
        if self.state is not state:
            self.state = state
            self._changed()

    def register(self, prefix: str, status: StepStatus, *, undo: str = "", **more: Any) -> Entry:
        """Note a step before it runs. Its key is `<prefix>/<name>/<occurrence>`."""
        own = (entry.status.name for entry in self.entries if not entry.from_child)
        occurrence = 1 + sum(name == status.name for name in own)
        status.idempotency_key = f"{prefix}/{status.name}/{occurrence}"
        status.compensation = CompensationStatus(name=undo) if undo else None
        label = status.name if occurrence == 1 else f"{status.name}/{occurrence}"
        entry = Entry(status, label, status.idempotency_key, **more)
        self.entries.append(entry)
        return entry

    def take_over(self, child: Entry, result: SagaResult) -> None:
        """Note what a nested saga, which has completed, did: its compensations become ours.

        When it passed its point of no return, this saga has passed it too.
        """
        child.committed_amounts = result.committed_amounts
        child.status.point_of_no_return = child.status.point_of_no_return or result.committed
        for number, item in enumerate(result.compensations, 1):
            status = StepStatus(
                name=item.step,
                status=StepState.DONE,
                amount=item.amount,
                idempotency_key=item.idempotency_key,
                group=child.status.group,
                child_workflow_id=item.child_workflow_id or child.status.child_workflow_id,
                compensation=CompensationStatus(name=item.undo),
            )
            entry = Entry(status, f"{child.label}/{number}/{item.step}", item.idempotency_key)
            entry.started = entry.from_child = True
            entry.undo_input, entry.result = item.input, item.result
            entry.undo_queue, entry.undo_retry = item.queue, item.retry
            self.entries.append(entry)

    @property
    def committed(self) -> bool:
        """The point of no return was passed."""
        return self._point() >= 0

    def _point(self) -> int:
        return max((number for number, entry in enumerate(self.entries) if entry.commits), default=-1)

    def owed(self) -> list[Entry]:
        """What has to be undone, in order: all that may have happened after the point of no return.

        What declares an amount or a point of no return and no compensation is an operator's to settle.
        """
        owed = [entry for entry in self.entries[self._point() + 1 :] if entry.may_have_happened]
        for entry in owed:
            if entry.status.compensation is None and entry.has_effect:
                entry.status.compensation = CompensationStatus(name=OPERATOR)
        return [entry for entry in owed if entry.status.compensation]

    def result(self, **more: Any) -> SagaResult:
        """How the saga ended, with what a saga around it takes over."""
        settled = [each.status.name for each in self.entries if each.choice in ("skip", "settled_outside")]
        result = SagaResult(state=self.state, by_hand=settled, **more)
        if self.state is SagaState.COMPLETED:
            owed = self.owed()
            result.committed = self.committed
            result.committed_amounts = _sums(entry for entry in self._standing() if entry not in owed)
            result.compensations = [_compensation(entry) for entry in owed if entry.has_undo]
        return result

    def _standing(self) -> list[Entry]:
        """What is, or may be, in effect."""
        return [each for each in self.entries if each.may_have_happened and each.undo_status not in _HAPPENED]

    def status(self) -> SagaStatus:
        steps = [entry.status for entry in self.entries]
        return SagaStatus(state=self.state, steps=steps, exposure=_sums(self._standing()))

    def resolve(self, decision: Decision) -> DecisionResult:
        """As `Saga.resolve`: of several that are stuck, the last one that the decision can mean."""
        stuck = [e for e in self.entries if e.stuck and not e.choice and decision.step in ("", *_names(e))]
        if not stuck:
            return Outcome.REFUSED, "No step or compensation of that name is stuck.", ""
        entry = stuck[-1]
        if problem := _objection(entry, decision, several=len(stuck) > 1):
            return Outcome.REFUSED, problem, ""
        entry.choice = decision.choice
        if decision.choice == "retry":
            entry.retries(decision.input)
        what = entry.status.name if entry.status.status == StepState.STUCK else entry.undo.name
        return Outcome.APPLIED, f"{what}: {decision.choice.replace('_', ' ')}.", ""


def _objection(entry: Entry, decision: Decision, *, several: bool) -> str:
    """Why an operator's choice cannot be accepted, or ""."""
    retry, forward = decision.choice == "retry", entry.status.status == StepState.STUCK
    edited, evidence = retry and decision.input is not None, decision.evidence.strip()
    name = entry.status.name if forward else entry.undo.name
    if several and not decision.step:
        return "Several steps are stuck; name the step."
    if decision.choice not in CHOICES:
        return f"The choice must be one of {', '.join(CHOICES)}."
    if not retry and not evidence:
        return f"To choose {decision.choice}, give the evidence for it."
    if retry and not forward and not entry.has_undo:
        return "No compensation is declared for this step; skip it or settle it outside."
    if retry and forward and entry.lost_child and not evidence:
        return f"{name} may have happened. To start it anew, give evidence that it did not."
    if edited and forward and (entry.started or not entry.editable):
        return f"{name} can only be retried with the same input."
    if edited and not forward and entry.undo_runs and not evidence:
        old = f"{name} may have happened with the old input."
        return f"{old} Retry with the same input, or give evidence that it did not."
    return ""


def _compensation(entry: Entry) -> Compensation:
    return Compensation(
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


def _sums(entries: Iterable[Entry]) -> list[Money]:
    """A sum for each currency."""
    sums = Counter[str]()
    for entry in entries:
        for amount in filter(None, [entry.status.amount, *entry.committed_amounts]):
            sums[amount.currency] += amount.minor
    return [Money(minor=minor, currency=currency) for currency, minor in sorted(sums.items()) if minor]


def numbered(name: str, run: int) -> str:
    return name if run == 1 else f"{name}#{run}"


def _names(entry: Entry) -> tuple[str, ...]:
    undo = entry.status.compensation
    return (entry.status.name, undo.name) if undo else (entry.status.name,)
