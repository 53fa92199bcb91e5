"""The shapes that workflows and the console exchange: status queries, decisions and verdicts.

A workflow in any language that answers one of these queries with plain JSON gets its panel. Every model
ignores unknown fields and has defaults, so that half an answer still draws half a panel. Times are absolute
(RFC 3339), because workflow time stands still inside a query. The prose version is docs/contracts.md.
"""

from __future__ import annotations

from workers.contracts.approvals import (
    ApprovalBand,
    ApprovalPolicy,
    ApprovalStatus,
    Delegation,
    Escalation,
    Vote,
)
from workers.contracts.base import Contract, Money
from workers.contracts.decisions import Decision, Resume, Verdict
from workers.contracts.statuses import (
    CircuitStatus,
    CompensationStatus,
    Forced,
    Progress,
    SagaStatus,
    Status,
    StepStatus,
    Transition,
)
from workers.contracts.words import (
    CIRCUIT_OPEN,
    DECIMALS,
    VERSION,
    ApprovalState,
    CircuitState,
    Outcome,
    Query,
    SagaState,
    Signal,
    StepState,
    WaitingFor,
)

__all__ = [
    "CIRCUIT_OPEN",
    "DECIMALS",
    "VERSION",
    "ApprovalBand",
    "ApprovalPolicy",
    "ApprovalState",
    "ApprovalStatus",
    "CircuitState",
    "CircuitStatus",
    "CompensationStatus",
    "Contract",
    "Decision",
    "Delegation",
    "Escalation",
    "Forced",
    "Money",
    "Outcome",
    "Progress",
    "Query",
    "Resume",
    "SagaState",
    "SagaStatus",
    "Signal",
    "Status",
    "StepState",
    "StepStatus",
    "Transition",
    "Verdict",
    "Vote",
    "WaitingFor",
]
