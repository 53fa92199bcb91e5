"""Who may decide: roles, escalation and delegation, and which policy an amount falls under. Pure functions.

Deadlines compare with the decision's own `at`, never with the time at which a worker got it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime

from workers.contracts import ApprovalBand, ApprovalPolicy, ApprovalStatus, Decision, Delegation, Money


def same(one: str, other: str) -> bool:
    """The same person, however the name was typed."""
    return _folded(one) == _folded(other)


def policy_for(amount: Money, bands: Iterable[ApprovalBand]) -> ApprovalPolicy | None:
    """The policy of the highest band that the amount reaches in its currency; None: no approval is needed.

    A currency that no band names falls under the strictest of all policies. A refund is as large as a charge.
    """
    bands = list(bands)
    own = [band for band in bands if same(band.currency, amount.currency)]
    if not own:
        policies = [band.policy for band in bands if band.policy is not None]
        return max(policies, key=_strictness, default=None)
    reached = [band for band in own if abs(amount.minor) >= band.minor]
    return max(reached, key=lambda band: band.minor).policy if reached else None


def objection(status: ApprovalStatus, decision: Decision) -> str:
    """Why this person may not speak here at all, in a sentence; "" when nothing is against it."""
    policy = status.policy
    if not decision.actor and (policy.quorum > 1 or policy.roles or not policy.self_approval):
        return "The decision names no actor."
    if status.deadline and decision.at and decision.at > status.deadline:
        return f"The deadline was {status.deadline:%Y-%m-%d %H:%M:%S} UTC."
    if handed := handed_on(status, decision.actor, decision.at):
        return f"{handed.actor} let {handed.to} vote instead."
    return ""


def role_missing(status: ApprovalStatus, decision: Decision) -> str:
    """Why this person may not vote in their own right; "" when they may."""
    policy = status.policy
    if not policy.self_approval and same(decision.actor, status.requester):
        return "The requester may not decide."
    wanted = roles_at(status, decision.at)
    if wanted and not wanted & set(decision.roles):
        return f"This needs the role {' or '.join(sorted(wanted))}."
    return ""


def roles_at(status: ApprovalStatus, at: datetime | None) -> set[str]:
    """Roles that may decide at that time. Empty: anybody may."""
    if not status.policy.roles:
        return set()
    escalated = (step.roles for step in status.escalations if at and step.at and step.at <= at)
    return set(status.policy.roles).union(*escalated)


def handed_on(status: ApprovalStatus, actor: str, at: datetime | None = None) -> Delegation | None:
    """The delegation by which this person had given their vote away by `at`, or whose vote is cast by now.

    A vote from before the delegation counts although it arrives after it, unless the delegate was quicker.
    """
    given = next((each for each in status.delegations if same(each.actor, actor)), None)
    if given is None or _by(given, at) or any(same(vote.on_behalf_of, actor) for vote in status.votes):
        return given
    return None


def held_for(status: ApprovalStatus, actor: str, at: datetime | None = None) -> Delegation | None:
    """The delegation (made by `at`, when given) by which this person may vote in another's place."""
    given = next((each for each in status.delegations if same(each.to, actor)), None)
    if given is None or not _by(given, at) or any(same(vote.actor, given.actor) for vote in status.votes):
        return None
    return given


def _by(given: Delegation, at: datetime | None) -> bool:
    return at is None or given.at is None or given.at <= at


def delegation_problem(status: ApprovalStatus, decision: Decision) -> str:
    """Why the vote cannot be handed on to `decision.to`; "" when it can."""
    policy, to = status.policy, decision.to
    if not policy.delegation:
        return "This policy does not allow delegation."
    if not policy.roles:
        return "Anybody may vote here, so there is nothing to delegate."
    if not to or same(to, decision.actor):
        return "Name a delegate."
    if not policy.self_approval and same(to, status.requester):
        return "The requester may not decide, not as a delegate either."
    if held_for(status, decision.actor):
        return "A vote that was delegated to you cannot be delegated again."
    if handed_on(status, to):
        return f"{to} has delegated their own vote."
    if held_for(status, to):
        return f"{to} is a delegate already, and each person has one vote."
    if any(same(vote.actor, to) for vote in status.votes):
        return f"{to} has voted already, and each person has one vote."
    return ""


def _strictness(policy: ApprovalPolicy) -> tuple[int, bool, bool]:
    return policy.quorum, not policy.self_approval, bool(policy.roles)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()
