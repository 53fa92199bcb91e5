"""Why a workflow would refuse somebody's part in an approval, by the policy that it told. The workflow is the
judge; these sentences stand beside buttons that would lead to a refusal."""

from __future__ import annotations

from datetime import UTC, datetime

from dashboard.access import Viewer
from workers.contracts import ApprovalStatus, Escalation

ADMIN = "admin"


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def reached(escalation: Escalation) -> bool:
    """May these roles decide by now?"""
    at = escalation.at
    if at is None or escalation.reached:
        return escalation.reached
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) <= datetime.now(UTC)


def _roles(status: ApprovalStatus) -> list[str]:
    """Roles that may decide now; none are named where anybody may."""
    more = (role for item in status.escalations if reached(item) for role in item.roles)
    return list(dict.fromkeys([*status.policy.roles, *more])) if status.policy.roles else []


def _lacks_role(viewer: Viewer, status: ApprovalStatus) -> str:
    roles = _roles(status)
    return f"This needs the role {' or '.join(roles)}." if roles and not viewer.roles & set(roles) else ""


def to_vote(viewer: Viewer, status: ApprovalStatus) -> str:
    """Empty where a vote of this viewer would count."""
    if not status.policy.self_approval and _same(viewer.name, status.requester):
        return "Who asked may not decide."
    spent = {vote.on_behalf_of.strip().casefold() for vote in status.votes}
    entrusted = [item for item in status.delegations if _same(item.to, viewer.name)]
    if any(item.actor.strip().casefold() not in spent for item in entrusted):
        return ""
    given = next((item for item in status.delegations if _same(item.actor, viewer.name)), None)
    if given:
        return f"You let {given.to} vote in your place."
    if lacking := _lacks_role(viewer, status):
        return lacking
    return "You have voted already." if any(_same(vote.actor, viewer.name) for vote in status.votes) else ""


def to_delegate(viewer: Viewer, status: ApprovalStatus) -> str:
    """Empty where this viewer has a vote to hand on."""
    if any(_same(vote.actor, viewer.name) for vote in status.votes):
        return "You have voted already."
    return _lacks_role(viewer, status)


def to_withdraw(viewer: Viewer, status: ApprovalStatus) -> str:
    """Empty for whoever asked, and for administrators."""
    if _same(viewer.name, status.requester) or ADMIN in viewer.roles or viewer.superuser:
        return ""
    who = f" ({status.requester})" if status.requester else ""
    return f"Only who asked{who} or an administrator may withdraw it."
