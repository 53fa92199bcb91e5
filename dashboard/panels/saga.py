"""The saga ladder: each step on the left, its compensation on the right. Attempts and times are joined by
activity id from describe and history, as workflow code cannot see them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from dashboard.extend import Panel, register
from dashboard.formats import clock, duration, money, until
from dashboard.states import STATES, Look, look
from dashboard.temporal_api.history import Span
from dashboard.temporal_api.run import RunPage
from workers.contracts import CompensationStatus, Query, SagaState, SagaStatus, StepState, StepStatus

# A compensation that has not run is not always still to run.
NOT_RUN: dict[str, str] = {
    SagaState.RUNNING: "ready",
    SagaState.COMPLETED: "not needed",
    SagaState.COMPENSATED: "not needed",
}
COMPENSATING = (StepState.RUNNING, StepState.DONE, StepState.STUCK, StepState.FAILED)


@dataclass(frozen=True, slots=True)
class StepSide:
    """A step, or its compensation, as tone, name, word and details."""

    tone: str
    name: str
    word: str
    detail: str


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step and its compensation; `link_tone` is the tone of the line between them once it runs. `child` is
    the workflow of a nested saga."""

    step: StepSide
    compensation: StepSide
    link_tone: str
    group: str = ""
    child: str = ""


@dataclass(frozen=True, slots=True)
class StepGroup:
    """Steps that follow each other, or, with a name, that ran side by side."""

    name: str
    rows: list[StepRow]


@dataclass(frozen=True, slots=True)
class SagaView:
    """The state of the saga as tone and word, and its steps in groups. `exposure`: minor units by currency of
    what is, or may be, in effect and not compensated."""

    tone: str
    word: str
    groups: list[StepGroup]
    exposure: dict[str, int]


def _attempts(run: RunPage, activity_id: str) -> tuple[str, list[str]]:
    """What describe and history know of an activity: a word about its tries, and details."""
    pending = next(
        (item for item in run.pending if item.activity_id and item.activity_id == activity_id), None
    )
    if pending:
        of = f" of {pending.maximum}" if pending.maximum else ""
        retry = f", next try in {until(pending.next_at)}" if pending.next_at else ""
        earlier = run.history.earlier(activity_id)
        after = f" after {earlier} earlier {'one' if earlier == 1 else 'ones'}" if earlier else ""
        return f"attempt {pending.attempt}{of}{after}{retry}", [pending.failure] if pending.failure else []
    span = run.history.activity(activity_id)
    return ("", []) if span is None else (_tries(run, span), _times(span))


def _tries(run: RunPage, span: Span) -> str:
    tries = span.attempt + run.history.earlier(span.activity_id)
    return f"{'at least ' if run.history.unread else ''}{tries} attempts" if tries > 1 else ""


def _times(span: Span) -> list[str]:
    return [text for text in (clock(span.start), duration(span.seconds)) if text]


def _look(state: str) -> Look:
    """How a step or a compensation is shown; in the middle of a sentence, so in small letters."""
    return STATES["step"].get(state) or Look("rest", state or "unknown")


def _side(tone: str, name: str, word: str, tries: str, details: list[str]) -> StepSide:
    return StepSide(
        tone, name, f"{word}, {tries}" if tries else word, " · ".join(text for text in details if text)
    )


def _forward(run: RunPage, step: StepStatus) -> StepSide:
    shown = _look(step.status)
    tries, times = _attempts(run, step.activity_id)
    name = f"{step.name or 'Unnamed step'}{f', {money(step.amount)}' if step.amount else ''}"
    # Keys begin with the first run id, which the page shows already.
    key = step.idempotency_key.replace(run.first_run_id, "…") if run.first_run_id else step.idempotency_key
    final = "point of no return" if step.point_of_no_return else ""
    details = [step.error or "", *times, final, f"key {key}" if key else ""]
    return _side(shown.tone, name, shown.word, tries, details)


def _compensation(run: RunPage, found: CompensationStatus | None, state: str) -> StepSide:
    if found is None:
        return StepSide("rest", "no compensation", "", "")
    shown = _look(found.status)
    word = NOT_RUN.get(state, shown.word) if found.status == StepState.PENDING else shown.word
    tone = "undo" if found.status == StepState.RUNNING else shown.tone
    tries, times = _attempts(run, found.activity_id)
    return _side(tone, found.name, word, tries, [found.error or "", *times])


def _row(run: RunPage, step: StepStatus, state: str) -> StepRow:
    found, tone = step.compensation, ""
    if found and found.status in COMPENSATING:
        tone = "stop" if found.status == StepState.STUCK else "undo"
    sides = _forward(run, step), _compensation(run, found, state)
    return StepRow(*sides, tone, step.group, step.child_workflow_id)


def _exposure(status: SagaStatus) -> dict[str, int]:
    """Nothing once a saga has completed: what it did then is what was wanted."""
    if status.state == SagaState.COMPLETED:
        return {}
    sums: dict[str, int] = {}
    for amount in status.exposure:
        sums[amount.currency] = sums.get(amount.currency, 0) + amount.minor
    return {currency: minor for currency, minor in sums.items() if minor}


def draw(run: RunPage, status: SagaStatus) -> SagaView:
    """The ladder of a saga."""
    shown = look(status.state, "saga")
    rows = [_row(run, step, status.state) for step in status.steps]
    groups = [StepGroup(name, list(found)) for name, found in groupby(rows, key=lambda row: row.group)]
    return SagaView(shown.tone, shown.word, groups, _exposure(status))


register(
    Panel(
        query=Query.SAGA,
        title="Saga",
        template="dashboard/panels/saga.html",
        model=SagaStatus,
        draw=draw,
        order=20,
    )
)
