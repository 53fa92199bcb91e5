"""The saga ladder: each step on the left, what undoes it on the right. Attempts and times are joined by
activity id from describe and history, as workflow code cannot see them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from dashboard.formats import clock, duration, money, until
from dashboard.states import STATES, Look, look
from dashboard.temporal_api.history import Span
from dashboard.temporal_api.run import RunPage
from workers.contracts import CompensationStatus, SagaState, SagaStatus, StepState, StepStatus

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

    tone: str
    name: str
    word: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rung:
    """A step and what undoes it; `live` is the tone of the joint while it is being undone. `child` is the
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
    """The state of the saga as tone and word, and its rungs in stretches. `exposure`: minor units by
    currency of what is, or may be, in effect and not undone."""

    tone: str
    word: str
    stretches: list[Stretch]
    exposure: dict[str, int]


def _attempts(run: RunPage, activity_id: str) -> tuple[str, list[str]]:
    """What describe and history know of an activity: a word about its tries, and details."""
    pending = next(
        (item for item in run.pending if item.activity_id and item.activity_id == activity_id), None
    )
    if pending:
        of = f" of {pending.maximum}" if pending.maximum else ""
        retry = f", next try in {until(pending.next_at)}" if pending.next_at else ""
        return f"attempt {pending.attempt}{of}{retry}", [pending.failure] if pending.failure else []
    span = run.history.activity(activity_id)
    return ("", []) if span is None else (_tries(span), _times(span))


def _tries(span: Span) -> str:
    return "1 attempt" if span.attempt == 1 else f"{span.attempt} attempts"


def _times(span: Span) -> list[str]:
    return [text for text in (clock(span.start), duration(span.seconds)) if text]


def _step(state: str) -> Look:
    """How a step or a compensation is shown; in the middle of a sentence, so in small letters."""
    return STATES["step"].get(state) or Look("rest", state or "unknown")


def _forward(run: RunPage, step: StepStatus) -> Side:
    shown = _step(step.status)
    word = shown.word
    tries, details = _attempts(run, step.activity_id)
    name = f"{step.name or 'Unnamed step'}{f', {money(step.amount)}' if step.amount else ''}"
    told = [step.error or "", *details, "cannot be undone" if step.point_of_no_return else ""]
    # Keys begin with the first run id, which the page shows already.
    key = step.idempotency_key.replace(run.first_run_id, "…") if run.first_run_id else step.idempotency_key
    key = f"key {key}" if key else ""
    return Side(
        shown.tone,
        name,
        f"{word}, {tries}" if tries else word,
        " · ".join(text for text in (*told, key) if text),
    )


def _back(run: RunPage, undo: CompensationStatus | None, state: str) -> Side:
    if undo is None:
        return Side("rest", "nothing to undo", "", "")
    shown = _step(undo.status)
    word = shown.word
    if undo.status == StepState.PENDING:
        word = AHEAD.get(state, word)
    tone = "undo" if undo.status == StepState.RUNNING else shown.tone
    tries, details = _attempts(run, undo.activity_id)
    told = [undo.error or "", *details]
    return Side(
        tone, undo.name, f"{word}, {tries}" if tries else word, " · ".join(text for text in told if text)
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
    shown = look(status.state, "saga")
    rungs = [_rung(run, step, status.state) for step in status.steps]
    stretches = [Stretch(name, list(found)) for name, found in groupby(rungs, key=lambda rung: rung.group)]
    return Ladder(shown.tone, shown.word, stretches, _exposure(status))


def stuck_steps(status: SagaStatus) -> list[str]:
    """Names of the steps that wait for a person, or whose compensation does."""
    return [
        step.name
        for step in status.steps
        if step.status == StepState.STUCK
        or (step.compensation and step.compensation.status == StepState.STUCK)
    ]
