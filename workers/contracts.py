"""The shapes that workflows and the console exchange: status queries, decisions and verdicts.

A workflow in any language that answers one of these queries with plain JSON gets its panel. Every model
ignores unknown fields and has defaults, so that half an answer still draws half a panel. Times are absolute
(RFC 3339), because workflow time stands still inside a query. The prose version is docs/contracts.md.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

VERSION = "1"

# ISO 4217: currencies that have not two decimals.
DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


class Query(StrEnum):
    """Names of the queries that the console knows how to draw."""

    SAGA = "get_saga_status"
    CIRCUIT = "get_circuit_status"
    APPROVAL = "get_approval_status"
    DECISION = "get_decision"
    PROGRESS = "get_progress"
    STATUS = "get_status"
    STATE = "get_state"


class Signal(StrEnum):
    """Names of the signals that the console and the breakers send."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    DELEGATE = "delegate"
    RESOLVE = "resolve_compensation"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    RESUME = "resume"
    FORCE_OPEN = "force_open"
    FORCE_CLOSE = "force_close"
    RELEASE = "release"
    PROBE = "probe"


class SagaState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    STUCK = "stuck"


class StepState(StrEnum):
    """Of a step or of a compensation. `unknown`: it may have happened (timed out, cancelled in flight)."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    STUCK = "stuck"
    SKIPPED = "skipped"
    SETTLED = "settled_outside"


class CircuitState(StrEnum):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class ApprovalState(StrEnum):
    NOT_NEEDED = "not_needed"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Outcome(StrEnum):
    """What became of a decision."""

    APPLIED = "applied"
    REFUSED = "refused"
    ALREADY_DECIDED = "already_decided"
    PENDING = "pending"
    UNKNOWN = "unknown"


class WaitingFor(StrEnum):
    """Values of the WaitingFor search attribute; a breaker adds its dependency: `breaker:payments`."""

    APPROVAL = "approval"
    OPERATOR = "operator"
    BREAKER = "breaker:"


class Contract(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Money(Contract):
    """An amount in integer minor units (cents for EUR) with its ISO 4217 currency."""

    minor: int = 0
    currency: str = ""


class CompensationStatus(Contract):
    name: str = ""
    activity_id: str = ""
    status: str = StepState.PENDING
    error: str | None = None


class StepStatus(Contract):
    """`group`: steps with the same one ran side by side. `child_workflow_id`: the step was a nested saga."""

    name: str = ""
    activity_id: str = ""
    status: str = StepState.PENDING
    amount: Money | None = None
    idempotency_key: str = ""
    point_of_no_return: bool = False
    group: str = ""
    child_workflow_id: str = ""
    error: str | None = None
    compensation: CompensationStatus | None = None


class SagaStatus(Contract):
    """Answer of `get_saga_status`. Attempts and times are not here: workflow code cannot see them, so the
    console joins them from describe and history by activity_id. `exposure`: a sum for each currency of what
    is, or may be, in effect and not undone."""

    state: str = SagaState.RUNNING
    steps: list[StepStatus] = Field(default_factory=list)
    exposure: list[Money] = Field(default_factory=list)


class Forced(Contract):
    """A person holds the breaker OPEN or CLOSED, whatever the calls say, until `until`."""

    state: str = ""
    by: str = ""
    reason: str = ""
    until: datetime | None = None


class Transition(Contract):
    at: datetime | None = None
    state: str = ""
    why: str = ""


class CircuitStatus(Contract):
    """Answer of `get_circuit_status`. `failure_count` counts failures in a row; it opens at `threshold`, or
    when of at least `minimum_calls` calls within `window_seconds` the share `failure_rate` (0 to 1) failed
    (0: not judged by rate). `opened_times`: openings in a row, each longer than the last. `processes`: how
    many reported within a minute."""

    state: str = CircuitState.CLOSED
    failure_count: int = 0
    threshold: int = 0
    last_failure_time: datetime | None = None
    dependency: str = ""
    epoch: int = 0
    opened_at: datetime | None = None
    next_probe_at: datetime | None = None
    open_seconds: float = 0
    probe_holder: str | None = None
    probe_lease: str | None = None
    forced: Forced | None = None
    last_error: str | None = None
    calls: int = 0
    failures: int = 0
    failure_rate: float = 0
    minimum_calls: int = 0
    window_seconds: float = 0
    opened_times: int = 0
    processes: int = 0
    transitions: list[Transition] = Field(default_factory=list)


class ApprovalPolicy(Contract):
    """Who has to agree. `roles`: a vote counts only from somebody who has one of them (empty: anybody).
    `self_approval`: may the requester vote. `delegation`: may somebody with a role hand on their vote."""

    quorum: int = 1
    roles: list[str] = Field(default_factory=list)
    self_approval: bool = True
    delegation: bool = False


class ApprovalBand(Contract):
    """From `minor` of `currency` on, `policy` applies; without one nobody needs to agree."""

    minor: int = 0
    currency: str = ""
    policy: ApprovalPolicy | None = None


class Escalation(Contract):
    """From `at` on, people with one of `roles` may decide too."""

    at: datetime | None = None
    roles: list[str] = Field(default_factory=list)
    reached: bool = False


class Delegation(Contract):
    """`actor` let `to` vote in their place."""

    actor: str = ""
    to: str = ""
    roles: list[str] = Field(default_factory=list)
    reason: str = ""
    at: datetime | None = None


class Vote(Contract):
    actor: str = ""
    roles: list[str] = Field(default_factory=list)
    approve: bool = True
    reason: str = ""
    at: datetime | None = None
    on_behalf_of: str = ""


class ApprovalStatus(Contract):
    """Answer of `get_approval_status`. `missing`: votes still needed. `on_timeout`: approve or reject.

    `decided_by`, `decided_at` and `reason` say who ended it, when and why; nobody, when time did."""

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


class Progress(Contract):
    """Answer of `get_progress`. `failed_items` is capped by the workflow."""

    total: int = 0
    done: int = 0
    failed: int = 0
    started_at: datetime | None = None
    failed_items: list[Any] = Field(default_factory=list)
    paused: bool = False


class Status(Contract):
    """Answer of `get_status`: the header. `summary` is one sentence on what happens next."""

    status: str = ""
    stage: str = ""
    updated_at: datetime | None = None
    waiting_for: str | None = None
    summary: str = ""


class Decision(Contract):
    """The body of approve, reject, cancel, resolve_compensation and the breaker acts.

    `decision_id` makes it exactly-once: the same id gets the same verdict. `at` is when the person decided,
    and a deadline is judged by it, not by when a worker woke. `choice`: retry, skip or settled_outside, for
    resolve_compensation of `step`; `evidence` says why that is right. `to`: who may vote instead, for
    delegate. `until`: when a forced state ends. `workflow_id`: who shall probe, for a breaker's probe.
    `chain`: the first run id of what the person saw; a workflow of another chain refuses the decision.
    """

    decision_id: str = ""
    actor: str = ""
    roles: list[str] = Field(default_factory=list)
    reason: str = ""
    at: datetime | None = None
    step: str = ""
    choice: str = ""
    evidence: str = ""
    input: dict[str, Any] | None = None
    to: str = ""
    until: datetime | None = None
    workflow_id: str = ""
    chain: str = ""


class Resume(Contract):
    """The body of `resume`: the breaker of `dependency` lets a held workflow go on, with a lease as probe."""

    dependency: str = ""
    epoch: int = 0
    lease: str | None = None


class Verdict(Contract):
    """Answer of `get_decision`: what the workflow did with a decision."""

    decision_id: str = ""
    outcome: str = Outcome.UNKNOWN
    detail: str = ""
    by: str = ""
    at: datetime | None = None
