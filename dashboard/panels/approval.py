"""The approval panel: who has voted, what is missing, until when, and what happens then."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.extend import Panel, register
from dashboard.states import look
from workers.contracts import ApprovalState, ApprovalStatus, Query


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """The approval with its state as tone and word; `rule` says in words which votes it requires."""

    tone: str
    word: str
    status: ApprovalStatus
    rule: str

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


def draw(status: ApprovalStatus) -> ApprovalView | None:
    """The panel of an approval; None where none is needed."""
    if status.state == ApprovalState.NOT_NEEDED:
        return None
    shown = look(status.state, "approval")
    return ApprovalView(shown.tone, shown.word, status, _rule(status))


register(
    Panel(
        query=Query.APPROVAL,
        title="Approval",
        template="dashboard/panels/approval.html",
        model=ApprovalStatus,
        draw=lambda run, status: draw(status),
        order=10,
    )
)
