"""Approval: who has to agree before a workflow goes on. Pure: no clock, no Temporal.

A decision counts by its own `at`, not by when a worker woke: signals are handled before timers in one
activation, so by the worker's clock a late decision would win, and a timely one could lose. What a person
may do is in rules.py; what became of it is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from workers.contracts import (
    ApprovalPolicy,
    ApprovalState,
    ApprovalStatus,
    Decision,
    Delegation,
    Escalation,
    Money,
    Outcome,
    Vote,
)
from workers.patterns.approval.rules import delegation_problem, held_for, objection, role_missing, same
from workers.patterns.decisions import DecisionResult

MOST_DELEGATIONS = 100
KEPT = {"actor", "roles", "reason", "at", "decision_id"}
"""Of a decision, in the vote or delegation that it makes."""


class Approval:
    """One question put to people. The workflow calls `open_until` when it begins to wait.

    `policy` None: no approval is needed. `on_timeout`: what the deadline decides.
    """

    def __init__(
        self,
        policy: ApprovalPolicy | None,
        *,
        requester: str = "",
        subject: str = "",
        amount: Money | None = None,
        on_timeout: Literal["approve", "reject"] = "reject",
    ) -> None:
        required = policy or ApprovalPolicy()
        required = required.model_copy(update={"quorum": max(1, required.quorum)})
        self._status = ApprovalStatus(
            state=ApprovalState.PENDING if policy else ApprovalState.NOT_NEEDED,
            subject=subject,
            requester=requester,
            amount=amount,
            policy=required,
            on_timeout=on_timeout,
            missing=required.quorum if policy else 0,
        )

    @classmethod
    def of(cls, status: ApprovalStatus) -> Approval:
        """Go on where another run stopped: the status is the whole state."""
        approval = cls(None)
        approval._status = status.model_copy(deep=True)
        return approval

    @property
    def state(self) -> ApprovalState:
        return ApprovalState(self._status.state)

    @property
    def deadline(self) -> datetime | None:
        return self._status.deadline

    @property
    def decided(self) -> bool:
        return self.state is not ApprovalState.PENDING

    @property
    def next_at(self) -> datetime | None:
        """When something happens by itself: the next escalation, or the deadline."""
        waiting = [step.at for step in self._status.escalations if step.at and not step.reached]
        return min([*waiting, *([self.deadline] if self.deadline else [])], default=None)

    def status(self) -> ApprovalStatus:
        return self._status

    def open_until(self, deadline: datetime, escalations: Sequence[Escalation] = ()) -> None:
        """Begin to wait. Escalations from the deadline on come too late, and are left out."""
        self._status.deadline = deadline
        timely = (step.model_copy() for step in escalations if step.at and step.at < deadline)
        self._status.escalations = sorted(timely, key=lambda step: step.at or deadline)

    def vote(self, decision: Decision, *, approve: bool) -> DecisionResult:
        """Count a decision. One vote a person; the first reject ends it; refused `at` after the deadline."""
        if barred := self._barred(decision):
            return barred
        behalf = ""
        if problem := role_missing(self._status, decision):
            held = held_for(self._status, decision.actor, decision.at)
            if held is None:
                return Outcome.REFUSED, problem, ""
            behalf = held.actor
        known = decision.model_dump(include=KEPT)
        self._status.votes.append(Vote(approve=approve, on_behalf_of=behalf, **known))
        return self._count(decision, approve)

    def delegate(self, decision: Decision) -> DecisionResult:
        """Let `decision.to` vote in this person's place. The vote is given away, and once only."""
        if barred := self._barred(decision):
            return barred
        own = role_missing(self._status, decision)
        if problem := own or delegation_problem(self._status, decision):
            return Outcome.REFUSED, problem, ""
        if len(self._status.delegations) >= MOST_DELEGATIONS:
            return Outcome.REFUSED, f"There are {MOST_DELEGATIONS} delegations already.", ""
        known = decision.model_dump(include=KEPT)
        self._status.delegations.append(Delegation(to=decision.to, **known))
        return Outcome.APPLIED, f"{decision.to} may vote instead of {decision.actor}.", ""

    def withdraw_by(self, decision: Decision) -> DecisionResult:
        """Withdrawn by the requester, or by a person who could vote; with a reason."""
        if self.decided:
            return self._already()
        if not decision.actor:
            return Outcome.REFUSED, "The decision names no actor.", ""
        if problem := objection(self._status, decision):
            return Outcome.REFUSED, problem, ""
        mine = same(decision.actor, self._status.requester)
        if not mine and (problem := role_missing(self._status, decision)):
            return Outcome.REFUSED, problem, ""
        if not decision.reason.strip():
            return Outcome.REFUSED, "Say why it is withdrawn.", ""
        self.withdraw(by=decision.actor, reason=decision.reason, at=decision.at)
        return Outcome.APPLIED, "Withdrawn.", ""

    def escalate(self, now: datetime) -> list[Escalation]:
        """The escalations that have become due since the last call: each is to be sent as an alert."""
        due = [step for step in self._status.escalations if step.at and step.at <= now and not step.reached]
        for step in due:
            step.reached = True
        return due

    def expire(self) -> None:
        """The deadline is over, and every decision that came before the timer has been counted."""
        if not self.decided:
            approve = self._status.on_timeout == "approve"
            state = ApprovalState.APPROVED if approve else ApprovalState.EXPIRED
            self._end(state, [], self.deadline, "It was not decided before the deadline.")

    def withdraw(self, *, by: str = "", reason: str = "", at: datetime | None = None) -> None:
        """The approval is no longer needed, for example because the order was cancelled."""
        if not self.decided:
            self._end(ApprovalState.WITHDRAWN, [by] if by else [], at, reason)

    def _barred(self, decision: Decision) -> DecisionResult | None:
        """Why this person cannot vote or hand on their vote, whatever their roles are."""
        if self.decided:
            return self._already()
        if any(same(vote.actor, decision.actor) for vote in self._status.votes):
            voter = decision.actor or "This actor"
            return Outcome.ALREADY_DECIDED, f"{voter} has voted already.", decision.actor
        problem = objection(self._status, decision)
        return (Outcome.REFUSED, problem, "") if problem else None

    def _count(self, decision: Decision, approve: bool) -> DecisionResult:
        votes = self._status.votes
        if not approve:
            self._end(ApprovalState.REJECTED, [decision.actor], decision.at, decision.reason)
            return Outcome.APPLIED, "Rejected.", ""
        self._status.missing = max(0, self._status.policy.quorum - len(votes))
        if self._status.missing == 0:
            # Whichever vote arrived last, the quorum was there with the latest of them.
            last = max((vote.at for vote in votes if vote.at), default=None)
            self._end(ApprovalState.APPROVED, [vote.actor for vote in votes], last, decision.reason)
            return Outcome.APPLIED, "Approved.", ""
        return Outcome.APPLIED, f"Counted; {self._status.missing} more needed.", ""

    def _end(self, state: ApprovalState, by: list[str], at: datetime | None, reason: str) -> None:
        self._status.state = state
        self._status.decided_by = [actor for actor in by if actor]
        self._status.decided_at = at
        self._status.reason = reason

    def _already(self) -> DecisionResult:
        if self.state is ApprovalState.NOT_NEEDED:
            return Outcome.REFUSED, "Nothing here needs an approval.", ""
        by = self._status.decided_by[-1] if self._status.decided_by else ""
        decider, at = f" by {by}" if by else "", self._status.decided_at
        when = f" at {at:%Y-%m-%d %H:%M:%S} UTC" if by and at else ""
        return Outcome.ALREADY_DECIDED, f"Already {self.state}{decider}{when}.", by
