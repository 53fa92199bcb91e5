"""The approval panel: who has voted, what is missing, until when, and what happens then."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.states import look
from workers.contracts import ApprovalState, ApprovalStatus


@dataclass(frozen=True, slots=True)
class Question:
    """The approval with its state as tone and word; `rule` says in words what it takes."""

    tone: str
    word: str
    status: ApprovalStatus
    rule: str
    pending: bool


def draw(status: ApprovalStatus) -> Question:
    """The panel of an approval."""
    shown = look(status.state, "approval")
    quorum = status.policy.quorum
    who = f" of {' or '.join(status.policy.roles)}" if status.policy.roles else ""
    own = "" if status.policy.self_approval else ", and not of the requester"
    delegated = " A voter can delegate the vote." if status.policy.delegation else ""
    rule = f"It takes {'one vote' if quorum == 1 else f'{quorum} votes'}{who}{own}.{delegated}"
    return Question(shown.tone, shown.word, status, rule, status.state == ApprovalState.PENDING)
