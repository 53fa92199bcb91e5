"""The header of a run: its state in one sentence, the workflow's own (`get_status`) where it has one."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.temporal_api.run import RunPage
from dashboard.temporal_api.tolerant import read
from workers.contracts import Query, Status, WaitingFor

SENTENCES = {
    "moving": "It is running; no action is needed.",
    "waiting": "It waits for an operator.",
    "stuck": "Compensation failed permanently. Resolve the step to continue.",
    "compensating": "Its steps are being compensated, the last one first. It ends by itself afterwards.",
    "completed": "It ended as planned.",
    "compensated": "It ended with every step compensated.",
    "rejected": "It was rejected, and what had been done is compensated.",
    "cancelled": "It was cancelled, and what had been done is compensated.",
    "failed": "It failed.",
    "terminated": "It was terminated: nothing was compensated, and nothing more happens.",
    "timed_out": "It timed out; nothing was compensated.",
}
# What Temporal itself says of workflows that have no line.
STATUSES = {
    1: "It is running.",
    2: "It has completed.",
    3: "It failed.",
    4: "It was cancelled.",
    5: "It was terminated.",
    6: "It continued as a newer run.",
    7: "It timed out.",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """The status as tone and word, and a sentence."""

    tone: str
    word: str
    text: str


def _own(run: RunPage) -> str:
    """The summary that the workflow gives of itself."""
    answer = run.known.answers.get(Query.STATUS)
    status = read(Status, answer.value)[0] if answer and answer.at else None
    return status.summary if status else ""


def _text(run: RunPage) -> str:
    if summary := _own(run):
        return summary
    waiting = run.row.waiting_for or ""
    if run.row.condition == "held":
        dependency = waiting.removeprefix(WaitingFor.BREAKER)
        return f"It is held by the breaker of {dependency}, and continues once that closes."
    if run.row.condition == "waiting" and waiting == WaitingFor.APPROVAL:
        return "It waits for an approval."
    text = SENTENCES.get(run.row.condition or "", "") or STATUSES.get(run.row.status, "")
    failure = run.history.failure
    return f"{text} {failure}" if failure and not run.open else text


def headline(run: RunPage) -> Headline:
    """The header of a run."""
    if run.cancel_requested and run.open:
        return Headline("undo", run.row.word, f"{_text(run)} Cancellation was requested.")
    return Headline(run.row.s, run.row.word, _text(run))
