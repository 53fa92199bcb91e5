"""What an ApprovalWorkflow takes and gives, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from workers.contracts import ApprovalBand, ApprovalPolicy, ApprovalStatus, Money, Vote
from workers.patterns.decisions import DecisionLog

MOST_EVENTS = 2_000
LONGEST_SECONDS = 10 * 365 * 86_400
"""Ten years: what a deadline can be away."""


class EscalationRule(BaseModel):
    """`after_seconds` of waiting people with one of `roles` may decide too, and an alert says so."""

    after_seconds: float = Field(gt=0, le=LONGEST_SECONDS)
    roles: list[str] = Field(default_factory=list)


class ApprovalRequest(BaseModel):
    """The request. With `bands` the amount decides which policy applies, or that no approval is needed.

    `seconds`: until the deadline; then `on_timeout`, approve or reject. `status` and `decisions`
    are what continue-as-new carries on.
    """

    subject: str = ""
    requester: str = ""
    amount: Money | None = None
    policy: ApprovalPolicy = Field(default_factory=ApprovalPolicy)
    bands: list[ApprovalBand] = Field(default_factory=list)
    seconds: float = Field(86_400, gt=0, le=LONGEST_SECONDS)
    on_timeout: Literal["approve", "reject"] = "reject"
    escalations: list[EscalationRule] = Field(default_factory=list)
    status: ApprovalStatus | None = None
    decisions: DecisionLog | None = None
    most_events: int = MOST_EVENTS


class ApprovalResult(BaseModel):
    """Who decided, when and why. `state`: an ApprovalState; `decided_by` is empty when time decided."""

    state: str = ""
    approved: bool = False
    decided_by: list[str] = Field(default_factory=list)
    decided_at: datetime | None = None
    reason: str = ""
    votes: list[Vote] = Field(default_factory=list)
