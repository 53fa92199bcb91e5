"""The header of a run: its state in one sentence, and what can be decided about it now."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.panels.drawn import Drawn
from dashboard.reads.run import RunPage
from workers.contracts import Signal, WaitingFor

SENTENCES = {
    "moving": "It works by itself; nobody needs to do anything.",
    "waiting": "It waits for a person.",
    "stuck": "Undoing failed for good. It stands until somebody resolves the step.",
    "compensating": "It is being undone, the last step first. It ends by itself once that is through.",
    "completed": "It ended as planned.",
    "compensated": "It ended with everything undone.",
    "rejected": "It was rejected, and what had been done is undone.",
    "cancelled": "It was cancelled, and what had been done is undone.",
    "failed": "It failed.",
    "terminated": "It was terminated: nothing was undone, and nothing more happens.",
    "timed_out": "It ran out of time; nothing was undone.",
}
# What Temporal itself says of workflows that have no line.
PLAIN = {
    1: "It is running.",
    2: "It has completed.",
    3: "It failed.",
    4: "It was cancelled.",
    5: "It was terminated.",
    6: "It goes on as a newer run.",
    7: "It ran out of time.",
}
DECIDABLE = {
    Signal.APPROVE.value: "approve",
    Signal.REJECT.value: "reject",
    Signal.CANCEL.value: "cancel",
    "resolve": "resolve the stuck step",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """`word` and `s` as a status, `text` the sentence, `decidable` what may be decided, in words; empty
    when nothing."""

    s: str
    word: str
    text: str
    decidable: str


def _text(run: RunPage, said: Drawn) -> str:
    if said.status and said.status.summary:
        return said.status.summary
    if run.row.condition == "held":
        held = " and of ".join(WaitingFor.dependencies(run.row.waiting_for))
        return f"It is held at the breaker of {held}, and goes on by itself once that closes."
    if run.row.condition == "waiting" and WaitingFor.APPROVAL in run.row.waiting_for:
        return "It waits for an approval."
    text = SENTENCES.get(run.row.condition or "", "") or PLAIN.get(run.row.status, "")
    failure = run.history.failure
    return f"{text} {failure}" if failure and not run.open else text


def headline(run: RunPage, said: Drawn) -> Headline:
    """The header of a run."""
    words = [DECIDABLE[act] for act in said.acts]
    decidable = " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"
    if run.cancel_requested and run.open:
        return Headline("undo", run.row.word, f"{_text(run, said)} Cancellation was requested.", decidable)
    return Headline(run.row.s, run.row.word, _text(run, said), decidable)
