"""ApprovalWorkflow: one question put to people, until they or the clock have decided it.

The smallest user of approval.py, and useful as it is: as a workflow of its own, or as the child of one that
has a question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import DEADLINE, STAGE, WAITING_FOR
    from workers.contracts import (
        ApprovalState,
        ApprovalStatus,
        Decision,
        Escalation,
        Money,
        Outcome,
        Status,
        Verdict,
        WaitingFor,
    )
    from workers.patterns.alerts.calls import Alerts
    from workers.patterns.approval.approval import Approval
    from workers.patterns.approval.messages import ApprovalRequest, ApprovalResult
    from workers.patterns.approval.rules import policy_for
    from workers.patterns.decisions import NO_BODY, DecisionLog, DecisionResult, lenient_signal
    from workers.patterns.search_attributes import upsert_changed

WORKFLOW_TYPE = "ApprovalWorkflow"
STAGE_ASKING = "approval"


def _asked(request: ApprovalRequest) -> Approval:
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
class ApprovalWorkflow:
    """Signals approve, reject, withdraw, delegate and cancel; the query `status` says pending or approved."""

    @workflow.init
    def __init__(self, request: ApprovalRequest) -> None:
        self._request = request
        self._approval = _asked(request)
        self._book = request.book or DecisionLog(chain=workflow.info().first_execution_run_id)
        self._alerts = Alerts()
        self._updated_at = workflow.now()

    @workflow.run
    async def run(self, request: ApprovalRequest) -> ApprovalResult:
        self._open()
        self._show()
        try:
            await self._answer()
        except asyncio.CancelledError:
            if not self._approval.decided:  # else both came at once, and people have been told the decision
                self._approval.withdraw(reason="Cancellation was requested.", at=workflow.now())
                self._show()
                raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._approval.decided:
            carried = {"status": self._approval.status(), "book": self._book}
            workflow.continue_as_new(request.model_copy(update=carried))
        self._show()
        return self._result()

    async def _answer(self) -> None:
        """Returns when it is decided, or when the history is full."""
        while not (self._approval.decided or self._full()):
            due = self._approval.next_at or workflow.now()
            try:
                await workflow.wait_condition(
                    lambda: self._approval.decided or self._full(),
                    timeout=max(timedelta(), due - workflow.now()),
                    timeout_summary="the decision is due" if due == self._approval.deadline else "escalation",
                )
            except TimeoutError:
                self._pass_time(workflow.now())

    def _open(self) -> None:
        if self._request.status is not None:
            for step in self._approval.status().escalations:
                if step.reached:  # the run before may have ended while its alert was on its way
                    self._tell(step)
            return
        begin = workflow.now()
        steps = [
            Escalation(at=begin + timedelta(seconds=rule.after_seconds), roles=rule.roles)
            for rule in self._request.escalations
        ]
        self._approval.open_until(begin + timedelta(seconds=self._request.seconds), steps)

    def _pass_time(self, now: datetime) -> None:
        """What the clock does. Signals of the same activation have been handled before."""
        if self._approval.decided:
            return
        for step in self._approval.escalate(now):
            self._tell(step)
        if self._approval.deadline and now >= self._approval.deadline:
            self._approval.expire()

    def _tell(self, step: Escalation) -> None:
        status, info = self._approval.status(), workflow.info()
        alert_id = f"{info.first_execution_run_id}/escalation/{status.escalations.index(step) + 1}"
        title = f"Waits for a decision: {status.subject or info.workflow_id}"
        who = f"Now {' or '.join(step.roles)} may decide too." if step.roles else "Nobody has decided yet."
        self._alerts.raise_soon(alert_id, title, detail=who)

    def _full(self) -> bool:
        info = workflow.info()
        most = self._request.most_events
        return info.is_continue_as_new_suggested() or info.get_current_history_length() > most

    def _decide(self, raw: object, act: Callable[[Decision], DecisionResult]) -> None:
        def judged(decision: Decision) -> DecisionResult:
            self._updated_at = workflow.now()
            return act(decision)

        self._book.judge(raw, workflow.now(), judged)

    def _cancel(self, decision: Decision) -> DecisionResult:
        if self._approval.decided:
            return Outcome.ALREADY_DECIDED, f"Already {self._approval.state}.", ""
        self._approval.withdraw(by=decision.actor, reason=decision.reason, at=decision.at)
        return Outcome.APPLIED, "The question was taken back.", ""

    def _show(self) -> None:
        """Say in the search attributes who has to do something, and until when."""
        asking = not self._approval.decided
        upsert_changed(
            {
                STAGE: STAGE_ASKING if asking else self._approval.state.value,
                WAITING_FOR: [WaitingFor.APPROVAL.value] if asking else [],
                DEADLINE: self._approval.deadline if asking else None,
            }
        )

    def _result(self) -> ApprovalResult:
        status = self._approval.status()
        return ApprovalResult(
            approved=self._approval.state in (ApprovalState.APPROVED, ApprovalState.NOT_NEEDED),
            **status.model_dump(include={"state", "decided_by", "decided_at", "reason", "votes"}),
        )

    @workflow.signal(name="approve", description="Vote for it. Body: a Decision.")
    @lenient_signal
    def approve(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, lambda decision: self._approval.vote(decision, approve=True))

    @workflow.signal(name="reject", description="Vote against it. Body: a Decision.")
    @lenient_signal
    def reject(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, lambda decision: self._approval.vote(decision, approve=False))

    @workflow.signal(name="withdraw", description="Take the question back. Body: a Decision with a reason.")
    @lenient_signal
    def withdraw(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._approval.withdraw_by)

    @workflow.signal(name="delegate", description="Let `to` vote instead. Body: a Decision.")
    @lenient_signal
    def delegate(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._approval.delegate)

    @workflow.signal(name="cancel", description="Stop asking. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._cancel)

    @workflow.query(name="status", description="pending, approved, rejected, expired or withdrawn.")
    def state(self) -> str:
        return self._approval.state.value

    @workflow.query(name="get_approval_status", description="Who has to agree, and who did.")
    def approval_status(self) -> ApprovalStatus:
        return self._approval.status()

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._book.get(decision_id)

    @workflow.query(name="get_status", description="Where it stands and what happens next.")
    def status(self) -> Status:
        state, asking = self._approval.state, not self._approval.decided
        missing = self._approval.status().missing
        return Status(
            status=state,
            stage=STAGE_ASKING if asking else state,
            updated_at=self._updated_at,
            waiting_for=[WaitingFor.APPROVAL] if asking else [],
            summary=f"Waits for {missing} more {'vote' if missing == 1 else 'votes'}."
            if asking
            else f"Nothing: it was {state}.",
        )
