"""Approval: who has to agree before a workflow goes on. Pure: no clock, no Temporal.

A decision counts by its own `at`, not by when a worker woke: signals are handled before timers in one
activation, so by the worker's clock a late decision would win, and a timely one could lose.
"""

from __future__ import annotations

from datetime import datetime

from workers.contracts import (
    ApprovalPolicy,
    ApprovalState,
    ApprovalStatus,
    Decision,
    Money,
    Outcome,
    Vote,
)
from workers.patterns.decisions import Judgement


class Approval:
    """One question put to people. The workflow sets `deadline` (aware) when it begins to wait."""

    def __init__(
        self,
        policy: ApprovalPolicy | None,
        *,
        requester: str = "",
        subject: str = "",
        amount: Money | None = None,
        on_timeout: str = "reject",
    ) -> None:
        self._status = ApprovalStatus(
            state=ApprovalState.PENDING if policy else ApprovalState.NOT_NEEDED,
            subject=subject,
            requester=requester,
            amount=amount,
            policy=policy or ApprovalPolicy(),
            on_timeout=on_timeout,
            missing=policy.quorum if policy else 0,
        )

    @property
    def state(self) -> ApprovalState:
        return ApprovalState(self._status.state)

    @property
    def deadline(self) -> datetime | None:
        return self._status.deadline

    def open_until(self, deadline: datetime) -> None:
        self._status.deadline = deadline

    @property
    def decided(self) -> bool:
        return self.state is not ApprovalState.PENDING

    def status(self) -> ApprovalStatus:
        return self._status

    def vote(self, decision: Decision, *, approve: bool) -> Judgement:
        """Count a decision. One vote a person; the first reject ends it; refused `at` after the deadline."""
        if self.state is ApprovalState.NOT_NEEDED:
            return Outcome.REFUSED, "Nothing here needs an approval.", ""
        if self.decided:
            return self._already()
        if problem := self._objection(decision):
            return Outcome.REFUSED, problem, ""
        if any(_same(vote.actor, decision.actor) for vote in self._status.votes):
            who = decision.actor or "Somebody"
            return Outcome.ALREADY_DECIDED, f"{who} has voted already.", decision.actor
        known = decision.model_dump(include={"actor", "roles", "reason", "at"})
        self._status.votes.append(Vote(approve=approve, **known))
        return self._count(approve)

    def expire(self) -> None:
        """The deadline is over, and every decision that came before the timer has been counted."""
        if not self.decided:
            approve = self._status.on_timeout == "approve"
            self._status.state = ApprovalState.APPROVED if approve else ApprovalState.EXPIRED

    def withdraw(self) -> None:
        """The question is off the table, for example because the order was cancelled."""
        if not self.decided:
            self._status.state = ApprovalState.WITHDRAWN

    def _count(self, approve: bool) -> Judgement:
        if not approve:
            self._status.state = ApprovalState.REJECTED
            return Outcome.APPLIED, "Rejected.", ""
        missing = max(0, self._status.policy.quorum - len(self._status.votes))
        self._status.missing = missing
        if missing == 0:
            self._status.state = ApprovalState.APPROVED
            return Outcome.APPLIED, "Approved.", ""
        return Outcome.APPLIED, f"Counted; {missing} more needed.", ""

    def _objection(self, decision: Decision) -> str:
        policy = self._status.policy
        if not decision.actor and (policy.quorum > 1 or policy.roles or not policy.self_approval):
            return "The decision does not say who made it."
        if policy.roles and not set(policy.roles) & set(decision.roles):
            return f"This needs the role {' or '.join(policy.roles)}."
        if not policy.self_approval and _same(decision.actor, self._status.requester):
            return "Who asked may not decide."
        if self.deadline and decision.at and decision.at > self.deadline:
            return f"The deadline was {self.deadline:%Y-%m-%d %H:%M:%S} UTC."
        return ""

    def _already(self) -> Judgement:
        last = self._status.votes[-1] if self._status.votes else None
        by = last.actor if last else ""
        who = f" by {by}" if by and self.state in (ApprovalState.APPROVED, ApprovalState.REJECTED) else ""
        when = f" at {last.at:%Y-%m-%d %H:%M:%S} UTC" if who and last and last.at else ""
        return Outcome.ALREADY_DECIDED, f"Already {self.state}{who}{when}.", by


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()
