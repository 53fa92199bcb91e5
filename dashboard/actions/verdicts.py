"""What a viewer is told about a decision: a verdict as tone, word and sentences."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages

from dashboard.extend import Action
from workers.contracts import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Told:
    """`level` is that of Django's messages."""

    tone: str
    word: str
    text: str
    level: int


def tell(action: Action, workflow_id: str, verdict: Verdict) -> Told:
    """The workflow's own words, or ours. An outcome that the contract does not have counts as pending."""
    by = f" by {verdict.by}" if verdict.by else ""
    match verdict.outcome:
        case Outcome.APPLIED:
            told = ("done", "Applied", f"{action.done} {workflow_id}.", messages.SUCCESS)
        case Outcome.REFUSED:
            told = ("stop", "Refused", f"{workflow_id} refused it.", messages.ERROR)
        case Outcome.ALREADY_DECIDED:
            told = ("rest", "Already decided", f"{workflow_id} was decided already{by}.", messages.INFO)
        case _:
            told = ("wait", "Sent, not confirmed yet", f"{workflow_id}:", messages.WARNING)
    tone, word, sentence, level = told
    return Told(tone, word, f"{sentence} {verdict.detail}".strip(), level)
