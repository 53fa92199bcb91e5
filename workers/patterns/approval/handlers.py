"""ApprovalHandlers: the base class of every workflow that waits for votes."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import RawValue

from workers.contracts import ApprovalStatus
from workers.patterns.approval.approval import Approval
from workers.patterns.decisions import NO_BODY, DecisionHandlers, lenient_signal


class ApprovalHandlers(DecisionHandlers):
    """Takes `approve` and `reject`; answers `get_approval_status` and `get_decision`.

    approval: set by the `__init__` of the subclass, which also waits for it and says so in WaitingFor.
    """

    approval: Approval

    @workflow.signal(name="approve", description="Vote for it. Body: a Decision.")
    @lenient_signal
    def approve(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, lambda decision: self.approval.vote(decision, approve=True))

    @workflow.signal(name="reject", description="Vote against it. Body: a Decision.")
    @lenient_signal
    def reject(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, lambda decision: self.approval.vote(decision, approve=False))

    @workflow.query(name="get_approval_status", description="Who has to agree, and who did.")
    def get_approval_status(self) -> ApprovalStatus:
        return self.approval.status()
