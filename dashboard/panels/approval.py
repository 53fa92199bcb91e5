"""The approval panel: who has voted, what is missing, until when, and what happens then."""

from __future__ import annotations

from dataclasses import dataclass

from workers.contracts import ApprovalState, ApprovalStatus

WORDS = {
    ApprovalState.NOT_NEEDED: ("rest", "Not needed"),
    ApprovalState.PENDING: ("wait", "Pending"),
    ApprovalState.APPROVED: ("done", "Approved"),
    ApprovalState.REJECTED: ("rest", "Rejected"),
    ApprovalState.EXPIRED: ("rest", "Expired"),
    ApprovalState.WITHDRAWN: ("rest", "Withdrawn"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """The approval with its state as colour and word; `rule` says in words what it takes."""

    s: str
    word: str
    status: ApprovalStatus
    rule: str
    pending: bool


def draw(status: ApprovalStatus) -> Question:
    """The panel of an approval."""
    known = status.state in set(ApprovalState)
    s, word = WORDS[ApprovalState(status.state)] if known else ("rest", status.state or "Unknown")
    quorum = status.policy.quorum
    who = f" of {' or '.join(status.policy.roles)}" if status.policy.roles else ""
    own = "" if status.policy.self_approval else ", and not of whoever asked"
    delegated = " Who may vote can hand that on." if status.policy.delegation else ""
    rule = f"It takes {'one vote' if quorum == 1 else f'{quorum} votes'}{who}{own}.{delegated}"
    return Question(s, word, status, rule, status.state == ApprovalState.PENDING)
