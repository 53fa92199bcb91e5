"""Approvals: the request, its policy, and the votes."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from workers.contracts.base import Contract, Money
from workers.contracts.words import ApprovalState


class ApprovalPolicy(Contract):
    """Who has to agree. `roles`: a vote counts only from a person with one of them (empty: any person).
    `self_approval`: may the requester vote. `delegation`: may a person with a role delegate their vote."""

    quorum: int = 1
    roles: list[str] = Field(default_factory=list)
    self_approval: bool = True
    delegation: bool = False


class ApprovalBand(Contract):
    """From `minor` of `currency` on, `policy` applies; without one no approval is needed."""

    minor: int = 0
    currency: str = ""
    policy: ApprovalPolicy | None = None


class Escalation(Contract):
    """From `at` on, people with one of `roles` may decide too."""

    at: datetime | None = None
    roles: list[str] = Field(default_factory=list)
    reached: bool = False


class Delegation(Contract):
    """`actor` let `to` vote in their place, by the decision of this id."""

    actor: str = ""
    to: str = ""
    roles: list[str] = Field(default_factory=list)
    reason: str = ""
    at: datetime | None = None
    decision_id: str = ""


class Vote(Contract):
    """A vote that was counted, from the decision of this id."""

    actor: str = ""
    roles: list[str] = Field(default_factory=list)
    approve: bool = True
    reason: str = ""
    at: datetime | None = None
    on_behalf_of: str = ""
    decision_id: str = ""


class ApprovalStatus(Contract):
    """Answer of `get_approval_status`. `missing`: votes still needed. `on_timeout`: approve or reject.

    `decided_by`, `decided_at` and `reason` say who ended it, when and why; `decided_by` is empty
    when the deadline did."""

    state: str = ApprovalState.PENDING
    subject: str = ""
    requester: str = ""
    amount: Money | None = None
    policy: ApprovalPolicy = Field(default_factory=ApprovalPolicy)
    votes: list[Vote] = Field(default_factory=list)
    missing: int = 0
    deadline: datetime | None = None
    on_timeout: str = "reject"
    escalations: list[Escalation] = Field(default_factory=list)
    delegations: list[Delegation] = Field(default_factory=list)
    decided_by: list[str] = Field(default_factory=list)
    decided_at: datetime | None = None
    reason: str = ""
