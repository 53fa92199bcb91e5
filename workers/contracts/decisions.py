"""What people and breakers tell a workflow, and what it made of that."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from workers.contracts.base import Contract
from workers.contracts.words import Outcome


class Decision(Contract):
    """The body of approve, reject, cancel, resolve_compensation, resolve and the breaker's signals.

    `decision_id` makes it exactly-once: the same id, from the same person by the same signal, gets the same
    verdict. `at` is when the person decided,
    which is what counts before a deadline. `choice`: retry, skip or settled_outside, for
    resolve_compensation of `step`, or for resolve of the event `step`; `evidence` says why that is right.
    `to`: who may vote instead, for delegate. `until`: when a forced state ends. `workflow_id`: which workflow
    makes a breaker's probe.
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
    """Answer of `get_decision`: what the workflow did with a decision. `by` is who decided, empty where no
    person did; `actor` and `signal` are whose decision has this id, and by which signal it came."""

    decision_id: str = ""
    outcome: str = Outcome.UNKNOWN
    detail: str = ""
    by: str = ""
    at: datetime | None = None
    actor: str = ""
    signal: str = ""
