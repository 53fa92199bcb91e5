"""The approval panel: who has voted, what is missing, until when, and what happens then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dashboard.extend import Panel, register
from dashboard.states import look
from dashboard.temporal_api.senders import Origins
from workers.contracts import ApprovalState, ApprovalStatus, Delegation, Query, Vote


@dataclass(frozen=True, slots=True)
class Sent:
    """A vote or a delegation; `sender` is the identity that sent it, where this console did not."""

    item: Any
    sender: str


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """The approval with its state as tone and word; `rule` says in words which votes it requires."""

    tone: str
    word: str
    status: ApprovalStatus
    rule: str
    votes: list[Sent]
    delegations: list[Sent]

    @property
    def pending(self) -> bool:
        return self.status.state == ApprovalState.PENDING


def _rule(status: ApprovalStatus) -> str:
    policy = status.policy
    votes = "1 vote" if policy.quorum == 1 else f"{policy.quorum} votes"
    roles = f" with the role {' or '.join(policy.roles)}" if policy.roles else ""
    own = "" if policy.self_approval else " The requester may not vote."
    delegated = " A vote can be delegated." if policy.delegation else ""
    return f"Requires {votes}{roles}.{own}{delegated}"


def _sent(items: Iterable[Vote | Delegation], origins: Origins | None) -> list[Sent]:
    return [
        Sent(item, origins.sender(item.decision_id, item.actor) if origins and item.actor else "")
        for item in items
    ]


def draw(status: ApprovalStatus, origins: Origins | None) -> ApprovalView | None:
    """The panel of an approval; None where none is needed."""
    if status.state == ApprovalState.NOT_NEEDED:
        return None
    shown = look(status.state, "approval")
    votes, delegations = _sent(status.votes, origins), _sent(status.delegations, origins)
    return ApprovalView(shown.tone, shown.word, status, _rule(status), votes, delegations)


register(
    Panel(
        query=Query.APPROVAL,
        title="Approval",
        template="dashboard/panels/approval.html",
        model=ApprovalStatus,
        draw=lambda run, status: draw(status, run.origins),
        order=10,
    )
)
