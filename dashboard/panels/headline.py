"""The header of a run: its state in one sentence, the workflow's own (`get_status`) where it has one."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.states import STATES
from dashboard.temporal_api.run import RunPage
from dashboard.temporal_api.tolerant import read
from workers.contracts import Query, Status, WaitingFor


@dataclass(frozen=True, slots=True)
class Headline:
    """The status as tone and word, and a sentence."""

    tone: str
    word: str
    text: str


def _own(run: RunPage) -> str:
    """The summary that the workflow gives of itself."""
    answer = run.answers.by_query.get(Query.STATUS)
    status = read(Status, answer.value)[0] if answer and answer.at else None
    return status.summary if status else ""


def _text(run: RunPage) -> str:
    if summary := _own(run):
        return summary
    if run.row.condition == "held":
        held = " and of ".join(WaitingFor.dependencies(run.row.waiting_for))
        return f"It is held by the breaker of {held}, and continues once that closes."
    if run.row.condition == "waiting" and WaitingFor.APPROVAL in run.row.waiting_for:
        return "It waits for an approval."
    shown = STATES["condition"].get(run.row.condition) or STATES["status"].get(run.row.status)
    text = shown.sentence if shown else ""
    failure = run.history.failure
    return f"{text} {failure}" if failure and not run.open else text


def headline(run: RunPage) -> Headline:
    """The header of a run."""
    if run.cancel_requested and run.open:
        return Headline("undo", run.row.word, f"{_text(run)} Cancellation was requested.")
    return Headline(run.row.tone, run.row.word, _text(run))
