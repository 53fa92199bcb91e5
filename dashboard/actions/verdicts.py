"""A verdict as a viewer reads it: tone, word and sentences."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages

from dashboard.extend import Action
from dashboard.states import look
from workers.contracts import Outcome, Verdict

# Levels of Django's messages by the tone of the outcome.
LEVELS = {"done": messages.SUCCESS, "stop": messages.ERROR, "rest": messages.INFO, "wait": messages.WARNING}


LONGEST_OUTCOME = 60  # characters


@dataclass(frozen=True, slots=True)
class Message:
    """`level` is that of Django's messages."""

    tone: str
    word: str
    text: str
    level: int


def tell(action: Action, workflow_id: str, verdict: Verdict) -> Message:
    """The workflow's own words, or ours. An outcome that the contract does not have is shown by its name."""
    shown = look(verdict.outcome[:LONGEST_OUTCOME], "outcome")
    match verdict.outcome:
        case Outcome.APPLIED:
            sentence = f"{action.done} {workflow_id}."
        case Outcome.REFUSED:
            sentence = f"{workflow_id} refused it."
        case Outcome.ALREADY_DECIDED:
            sentence = f"{workflow_id} was decided already{f' by {verdict.by}' if verdict.by else ''}."
        case Outcome.PENDING | Outcome.UNKNOWN:
            sentence = f"{workflow_id}:"
        case _:
            sentence = f"{workflow_id} answered with an outcome that this console does not know."
    return Message(shown.tone, shown.word, f"{sentence} {verdict.detail}".strip(), LEVELS[shown.tone])
