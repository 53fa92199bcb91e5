"""The saga ladder: each step on the left, what undoes it on the right. Attempts and times are joined by
activity id from describe and history, as workflow code cannot see them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from dashboard.templatetags.signalbox import clock, duration, money, until
from dashboard.temporal_api.history import Span
from dashboard.temporal_api.run import RunPage
from workers.contracts import CompensationStatus, SagaState, SagaStatus, StepState, StepStatus

# State -> (colour, word).
LOOKS = {
    StepState.PENDING: ("rest", "waits"),
    StepState.RUNNING: ("run", "running"),
    StepState.DONE: ("done", "done"),
    StepState.FAILED: ("stop", "failed"),
    StepState.UNKNOWN: ("wait", "may have happened"),
    StepState.STUCK: ("stop", "stuck"),
    StepState.SKIPPED: ("rest", "skipped"),
    StepState.SETTLED: ("done", "settled outside"),
}
WORDS = {
    SagaState.RUNNING: ("run", "Running"),
    SagaState.COMPLETED: ("done", "Completed"),
    SagaState.COMPENSATING: ("undo", "Compensating"),
    SagaState.COMPENSATED: ("rest", "Compensated"),
    SagaState.STUCK: ("stop", "Stuck"),
}
# What has not been undone is not always still to be undone.
AHEAD: dict[str, str] = {
    SagaState.RUNNING: "stands by",
    SagaState.COMPLETED: "not needed",
    SagaState.COMPENSATED: "not needed",
}
UNDOING = (StepState.RUNNING, StepState.DONE, StepState.STUCK, StepState.FAILED)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a rung; a rung without a compensation says so."""

    s: str
    name: str
    word: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rung:
    """A step and what undoes it; `live` is the colour of the joint while it is being undone. `child` is the
    workflow of a nested saga."""

    step: Side
    undo: Side
    live: str
    group: str = ""
    child: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rungs that follow each other, or, with a name, that ran side by side."""

    group: str
    rungs: list[Rung]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The state of the saga as (colour, word), and its rungs in stretches. `exposure`: minor units by
    currency of what is, or may be, in effect and not undone."""

    s: str
    word: str
    stretches: list[Stretch]
    exposure: dict[str, int]


def look(status: str) -> tuple[str, str]:
    """Colour and word of a state; a word of its own for one that the contract does not have."""
    return LOOKS[StepState(status)] if status in set(StepState) else ("rest", status or "unknown")


def _attempts(run: RunPage, activity_id: str) -> tuple[str, list[str]]:
    """What describe and history know of an activity: a word about its tries, and details."""
    pending = next(
        (item for item in run.pending if item.activity_id and item.activity_id == activity_id), None
    )
    if pending:
        of = f" of {pending.maximum}" if pending.maximum else ""
        retry = f", next try in {_plain(until(pending.next_at))}" if pending.next_at else ""
        return f"attempt {pending.attempt}{of}{retry}", [pending.failure] if pending.failure else []
    span = run.history.activity(activity_id)
    return ("", []) if span is None else (_tries(span), _times(span))


def _plain(text: str) -> str:
    """The text of a time element."""
    return text.partition(">")[2].partition("<")[0] or text


def _tries(span: Span) -> str:
    return "1 attempt" if span.attempt == 1 else f"{span.attempt} attempts"


def _times(span: Span) -> list[str]:
    return [text for text in (_plain(str(clock(span.start))), duration(span.seconds)) if text]


def _forward(run: RunPage, step: StepStatus) -> Side:
    s, word = look(step.status)
    tries, details = _attempts(run, step.activity_id)
    name = f"{step.name or 'Unnamed step'}{f', {money(step.amount)}' if step.amount else ''}"
    told = [step.error or "", *details, "cannot be undone" if step.point_of_no_return else ""]
    # Keys begin with the first run id, which the page shows already.
    key = step.idempotency_key.replace(run.first_run_id, "…") if run.first_run_id else step.idempotency_key
    key = f"key {key}" if key else ""
    return Side(
        s, name, f"{word}, {tries}" if tries else word, " · ".join(text for text in (*told, key) if text)
    )


def _back(run: RunPage, undo: CompensationStatus | None, state: str) -> Side:
    if undo is None:
        return Side("rest", "nothing to undo", "", "")
    s, word = look(undo.status)
    if undo.status == StepState.PENDING:
        word = AHEAD.get(state, word)
    s = "undo" if undo.status == StepState.RUNNING else s
    tries, details = _attempts(run, undo.activity_id)
    told = [undo.error or "", *details]
    return Side(
        s, undo.name, f"{word}, {tries}" if tries else word, " · ".join(text for text in told if text)
    )


def _rung(run: RunPage, step: StepStatus, state: str) -> Rung:
    undo = step.compensation
    live = (
        ""
        if undo is None or undo.status not in UNDOING
        else "stop"
        if undo.status == StepState.STUCK
        else "undo"
    )
    return Rung(_forward(run, step), _back(run, undo, state), live, step.group, step.child_workflow_id)


def _exposure(status: SagaStatus) -> dict[str, int]:
    sums: dict[str, int] = {}
    for amount in status.exposure:
        sums[amount.currency] = sums.get(amount.currency, 0) + amount.minor
    return {currency: minor for currency, minor in sums.items() if minor}


def draw(run: RunPage, status: SagaStatus) -> Ladder:
    """The ladder of a saga."""
    known = status.state in set(SagaState)
    s, word = WORDS[SagaState(status.state)] if known else ("rest", status.state or "Unknown")
    rungs = [_rung(run, step, status.state) for step in status.steps]
    stretches = [Stretch(name, list(found)) for name, found in groupby(rungs, key=lambda rung: rung.group)]
    return Ladder(s, word, stretches, _exposure(status))


def stuck_steps(status: SagaStatus) -> list[str]:
    """Names of the steps that wait for a person, or whose compensation does."""
    return [
        step.name
        for step in status.steps
        if step.status == StepState.STUCK
        or (step.compensation and step.compensation.status == StepState.STUCK)
    ]
