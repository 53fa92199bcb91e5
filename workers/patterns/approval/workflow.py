"""ApprovalWorkflow: a request that people approve or reject before a deadline.

It runs as a workflow of its own, or as the child of one that needs an approval.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import DEADLINE, STAGE, WAITING_FOR
    from workers.contracts import (
        ApprovalState,
        Decision,
        Escalation,
        Money,
        Outcome,
        Status,
        WaitingFor,
    )
    from workers.history import should_continue_as_new
    from workers.patterns.alerts.calls import Alerts
    from workers.patterns.approval.approval import Approval
    from workers.patterns.approval.handlers import ApprovalHandlers
    from workers.patterns.approval.messages import ApprovalRequest, ApprovalResult
    from workers.patterns.approval.rules import policy_for
    from workers.patterns.decisions import NO_BODY, DecisionResult, lenient_signal
    from workers.patterns.search_attributes import upsert_changed

WORKFLOW_TYPE = "ApprovalWorkflow"
STAGE_ASKING = "approval"


def _approval_of(request: ApprovalRequest) -> Approval:
    if request.status is not None:
        return Approval.of(request.status)
    by_amount = policy_for(request.amount or Money(), request.bands) if request.bands else request.policy
    return Approval(
        by_amount,
        requester=request.requester,
        subject=request.subject,
        amount=request.amount,
        on_timeout=request.on_timeout,
    )


@workflow.defn(name=WORKFLOW_TYPE)
class ApprovalWorkflow(ApprovalHandlers):
    """Takes withdraw, delegate and cancel besides the votes; the query `status` says pending or approved."""

    @workflow.init
    def __init__(self, request: ApprovalRequest) -> None:
        super().__init__(request.decisions)
        self._request = request
        self.approval = _approval_of(request)
        self._alerts = Alerts()

    @workflow.run
    async def run(self, request: ApprovalRequest) -> ApprovalResult:
        self._open()
        self._show()
        try:
            await self._answer()
        except asyncio.CancelledError:
            if not self.approval.decided:  # else both came at once, and the verdict has been given
                self.approval.withdraw(reason="Cancellation was requested.", at=workflow.now())
                self._show()
                raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self.approval.decided:
            carried = {"status": self.approval.status(), "decisions": self.decisions}
            workflow.continue_as_new(request.model_copy(update=carried))
        self._show()
        return self._result()

    async def _answer(self) -> None:
        """Returns when it is decided, or when the history is full."""
        while not (self.approval.decided or self._full()):
            due = self.approval.next_at or workflow.now()
            try:
                await workflow.wait_condition(
                    lambda: self.approval.decided or self._full(),
                    timeout=max(timedelta(), due - workflow.now()),
                    timeout_summary="the decision is due" if due == self.approval.deadline else "escalation",
                )
            except TimeoutError:
                self._pass_time(workflow.now())

    def _open(self) -> None:
        begin = workflow.now()
        if self.approval.deadline is None:
            rules = [] if self._request.status else self._request.escalations
            steps = [
                Escalation(at=begin + timedelta(seconds=rule.after_seconds), roles=rule.roles)
                for rule in rules
            ]
            self.approval.open_until(begin + timedelta(seconds=self._request.seconds), steps)
        for step in self.approval.status().escalations:
            if step.reached:  # the run before may have ended while its alert was on its way
                self._alert(step)

    def _pass_time(self, now: datetime) -> None:
        """What the clock does. Signals of the same activation have been handled before."""
        if self.approval.decided:
            return
        for step in self.approval.escalate(now):
            self._alert(step)
        if self.approval.deadline and now >= self.approval.deadline:
            self.approval.expire()

    def _alert(self, step: Escalation) -> None:
        status, info = self.approval.status(), workflow.info()
        alert_id = f"{info.first_execution_run_id}/escalation/{status.escalations.index(step) + 1}"
        title = f"Waits for a decision: {status.subject or info.workflow_id}"
        detail = f"Now {' or '.join(step.roles)} may decide too." if step.roles else "It is not decided yet."
        self._alerts.raise_soon(alert_id, title, detail=detail)

    def _full(self) -> bool:
        return should_continue_as_new(self._request.most_events)

    def _cancel(self, decision: Decision) -> DecisionResult:
        if self.approval.decided:
            return Outcome.ALREADY_DECIDED, f"Already {self.approval.state}.", ""
        self.approval.withdraw(by=decision.actor, reason=decision.reason, at=decision.at)
        return Outcome.APPLIED, "The request was withdrawn.", ""

    def _show(self) -> None:
        """Upsert the search attributes: what it waits for, and until when."""
        asking = not self.approval.decided
        upsert_changed(
            {
                STAGE: STAGE_ASKING if asking else self.approval.state.value,
                WAITING_FOR: [WaitingFor.APPROVAL.value] if asking else [],
                DEADLINE: self.approval.deadline if asking else None,
            }
        )

    def _result(self) -> ApprovalResult:
        status = self.approval.status()
        return ApprovalResult(
            approved=self.approval.state in (ApprovalState.APPROVED, ApprovalState.NOT_NEEDED),
            **status.model_dump(include={"state", "decided_by", "decided_at", "reason", "votes"}),
        )

    @workflow.signal(name="withdraw", description="Withdraw the request. Body: a Decision with a reason.")
    @lenient_signal
    def withdraw(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self.approval.withdraw_by)

    @workflow.signal(name="delegate", description="Let `to` vote instead. Body: a Decision.")
    @lenient_signal
    def delegate(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self.approval.delegate)

    @workflow.signal(name="cancel", description="Stop asking. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._cancel)

    @workflow.query(name="status", description="pending, approved, rejected, expired or withdrawn.")
    def state(self) -> str:
        return self.approval.state.value

    @workflow.query(name="get_status", description="Where it stands and what happens next.")
    def status(self) -> Status:
        state, asking = self.approval.state, not self.approval.decided
        missing = self.approval.status().missing
        return Status(
            status=state,
            stage=STAGE_ASKING if asking else state,
            updated_at=self.updated_at,
            waiting_for=[WaitingFor.APPROVAL] if asking else [],
            summary=f"Waits for {missing} more {'vote' if missing == 1 else 'votes'}."
            if asking
            else f"Nothing: it was {state}.",
        )
