"""The header of a run: its state in one sentence, and what can be decided about it now."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.panels.drawn import Drawn
from dashboard.states import STATES
from dashboard.temporal_api.run import RunPage
from workers.contracts import Signal, WaitingFor

DECIDABLE = {
    Signal.APPROVE.value: "approve",
    Signal.REJECT.value: "reject",
    Signal.CANCEL.value: "cancel",
    "resolve": "resolve the stuck step",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """`word` and `tone` as a status, `text` the sentence, `decidable` what may be decided, in words; empty
    when nothing."""

    tone: str
    word: str
    text: str
    decidable: str


def _text(run: RunPage, said: Drawn) -> str:
    if said.status and said.status.summary:
        return said.status.summary
    if run.row.condition == "held":
        held = " and of ".join(WaitingFor.dependencies(run.row.waiting_for))
        return f"It is held at the breaker of {held}, and continues by itself once that closes."
    if run.row.condition == "waiting" and WaitingFor.APPROVAL in run.row.waiting_for:
        return "It waits for an approval."
    shown = STATES["condition"].get(run.row.condition) or STATES["status"].get(run.row.status)
    text = shown.sentence if shown else ""
    failure = run.history.failure
    return f"{text} {failure}" if failure and not run.open else text


def headline(run: RunPage, said: Drawn) -> Headline:
    """The header of a run."""
    words = [DECIDABLE[act] for act in said.acts]
    decidable = " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"
    if run.cancel_requested and run.open:
        return Headline("undo", run.row.word, f"{_text(run, said)} Cancellation was requested.", decidable)
    return Headline(run.row.tone, run.row.word, _text(run, said), decidable)
