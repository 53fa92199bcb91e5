"""Why a workflow would refuse a viewer's part in an approval, by the policy that it answers and the rules of
our own approval. The workflow decides; these sentences stand beside buttons that would lead to a refusal."""

from __future__ import annotations

from datetime import UTC, datetime

from dashboard.access import Viewer
from workers.contracts import ApprovalStatus, Decision
from workers.patterns.approval.rules import held_for, objection, role_missing, same


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at and not at.tzinfo else at


def _comparable(status: ApprovalStatus) -> ApprovalStatus:
    """Times of workflows in other languages may lack their zone."""
    steps = [step.model_copy(update={"at": _utc(step.at)}) for step in status.escalations]
    return status.model_copy(update={"deadline": _utc(status.deadline), "escalations": steps})


def _decision(viewer: Viewer) -> Decision:
    return Decision(actor=viewer.name, roles=sorted(viewer.roles), at=datetime.now(UTC))


def _personal(status: ApprovalStatus, decision: Decision) -> str:
    """Why this viewer can do nothing here, whatever their roles are."""
    if any(same(vote.actor, decision.actor) for vote in status.votes):
        return "You have voted already."
    return objection(status, decision)


def vote_refusal(viewer: Viewer, status: ApprovalStatus) -> str:
    """Empty where a vote of this viewer would count, in their own right or in the place of a delegator."""
    status, decision = _comparable(status), _decision(viewer)
    lacking = "" if held_for(status, viewer.name) else role_missing(status, decision)
    return lacking or _personal(status, decision)


def delegation_refusal(viewer: Viewer, status: ApprovalStatus) -> str:
    """Empty where this viewer has a vote of their own to delegate."""
    status, decision = _comparable(status), _decision(viewer)
    if not status.policy.roles:
        return "Every viewer may vote here, so there is nothing to delegate."
    return role_missing(status, decision) or _personal(status, decision)


def withdrawal_refusal(viewer: Viewer, status: ApprovalStatus) -> str:
    """Empty for the requester and for those who could vote."""
    status, decision = _comparable(status), _decision(viewer)
    if same(viewer.name, status.requester) or not (problem := role_missing(status, decision)):
        return ""
    requester = f"The requester ({status.requester})" if status.requester else "The requester"
    return f"{requester} may withdraw it, and those who could vote. {problem}"
