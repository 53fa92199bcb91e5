"""A payout that asks first; who has to agree depends on how much it is."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from workers.contracts import ApprovalBand, ApprovalPolicy, Money
    from workers.patterns.approval.messages import ApprovalRequest, EscalationRule
    from workers.patterns.approval.workflow import ApprovalWorkflow
    from workers.registry.queues import PLATFORM

ONE = ApprovalPolicy(roles=["approver"])
TWO = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False, delegation=True)
BANDS = [
    ApprovalBand(minor=100_00, currency="EUR", policy=ONE),
    ApprovalBand(minor=10_000_00, currency="EUR", policy=TWO),
]


class Payout(BaseModel):
    number: int
    requester: str
    amount: Money


@activity.defn
async def pay(payout: Payout) -> str:
    return f"PAY-{payout.number}"


@workflow.defn
class PayoutWorkflow:
    @workflow.run
    async def run(self, payout: Payout) -> str:
        question = ApprovalRequest(
            subject=f"Payout {payout.number}",
            requester=payout.requester,
            amount=payout.amount,
            bands=BANDS,
            seconds=2 * 86_400,
            escalations=[EscalationRule(after_seconds=86_400, roles=["head"])],
        )
        answer = await workflow.execute_child_workflow(
            ApprovalWorkflow.run, question, id=f"{workflow.info().workflow_id}-approval", task_queue=PLATFORM
        )
        if not answer.approved:
            return f"Not paid, it was {answer.state}: {answer.reason}"
        return await workflow.execute_activity(pay, payout, start_to_close_timeout=timedelta(seconds=10))
