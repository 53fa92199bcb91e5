"""The desk of an order: what people and breakers tell it, and what it answers.

OrderWorkflow inherits this; the state is here, the way through it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from orders.messages import OrderInput, Stage, StepInput, UndoInput
    from orders.workflows.words import next_sentence
    from workers.client.attributes import DEADLINE, SAGA_STATE, STAGE, WAITING_FOR
    from workers.contracts import (
        ApprovalStatus,
        Decision,
        Money,
        SagaState,
        SagaStatus,
        Status,
        Verdict,
        WaitingFor,
    )
    from workers.patterns.approval.approval import Approval
    from workers.patterns.decisions import NO_BODY, DecisionLog, DecisionResult, lenient_signal
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.saga.cancellation import CancellableForward
    from workers.patterns.saga.saga import Options, Saga
    from workers.patterns.search_attributes import upsert_changed


def _alerts() -> bool:
    """Orders that were stuck before there were alerts replay without one."""
    return workflow.patched("saga-alert")


class OrderHandlers:
    """Answers get_saga_status, get_approval_status, get_status, get_decision and get_state."""

    def __init__(self, order: OrderInput) -> None:
        rules = order.rules
        self._order = order
        self._stage = Stage.RECEIVED
        self._outcome = ""
        self._updated_at = workflow.now()
        self._money = Money(minor=order.total_minor, currency=order.currency)
        self._book = DecisionLog(chain=workflow.info().first_execution_run_id)
        self._references: dict[str, str] = {}
        self._holds = GuardedCalls(rules.held_retry_seconds, self._show)
        self._saga = Saga(
            undo_input=self._undo_input,
            holds=self._holds,
            changed=self._show,
            options=Options(step_seconds=rules.step_seconds, undo_attempts=rules.undo_attempts),
            alerts=_alerts,
        )
        self._approval = Approval(
            rules.approval,
            requester=order.requester,
            subject=f"Order {order.order_id}",
            amount=self._money,
            on_timeout=rules.on_timeout,
        )
        self._way = CancellableForward[Any](
            subject="The order",
            objection=lambda: (
                "The order has been shipped; it can no longer be cancelled." if self._saga.committed else ""
            ),
        )

    @workflow.signal(name="approve", description="Vote for the order. Body: a Decision.")
    @lenient_signal
    def approve(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, lambda decision: self._approval.vote(decision, approve=True))

    @workflow.signal(name="reject", description="Vote against the order. Body: a Decision.")
    @lenient_signal
    def reject(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, lambda decision: self._approval.vote(decision, approve=False))

    @workflow.signal(name="cancel", description="Stop and undo what was done. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._way.cancel)

    @workflow.signal(name="resolve_compensation", description="Settle a stuck undo. Body: a Decision.")
    @lenient_signal
    def resolve_compensation(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._saga.resolve)

    @workflow.signal(name="resume", description="A breaker lets the order go on. Body: a Resume.")
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self._holds.resume(raw)

    @workflow.query(name="get_saga_status", description="Steps and compensations.")
    def saga_status(self) -> SagaStatus:
        return self._saga.status()

    @workflow.query(name="get_approval_status", description="Who has to agree, and who did.")
    def approval_status(self) -> ApprovalStatus:
        return self._approval.status()

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._book.get(decision_id)

    @workflow.query(name="get_status", description="Where the order is and what happens next.")
    def status(self) -> Status:
        waiting = self._waiting_for()
        saga = self._saga.state
        if saga is SagaState.RUNNING and self._way.cancelled_by is not None:
            saga = SagaState.COMPENSATING  # the step that runs ends first, but where this goes is settled
        sentence = next_sentence(self._stage, saga, " and ".join(self._holds.held), self._approval.status())
        return Status(
            status=self._saga.state,
            stage=self._stage,
            updated_at=self._updated_at,
            waiting_for=waiting,
            summary=self._outcome or sentence,
        )

    @workflow.query(name="get_state", description="What the order knows, as JSON.")
    def state(self) -> dict[str, Any]:
        order = self._order.model_dump(mode="json", exclude={"customer_name", "lines"})
        return {"order": order, "references": self._references, "decisions": len(self._book.verdicts)}

    def _decide(self, raw: object, act: Callable[[Decision], DecisionResult]) -> None:
        self._book.judge(raw, workflow.now(), act)

    def _step_input(self, key: str) -> StepInput:
        return StepInput(order_id=self._order.order_id, idempotency_key=key, order=self._order)

    def _undo_input(self, key: str, undo_key: str, reason: str, edited: dict[str, Any] | None) -> UndoInput:
        return UndoInput(
            order_id=self._order.order_id,
            idempotency_key=key,
            undo_key=undo_key,
            reason=reason,
            input=edited,
        )

    def _go(self, stage: Stage) -> None:
        self._stage = stage
        self._show()

    def _waiting_for(self) -> list[str]:
        operator = [WaitingFor.OPERATOR.value] if self._saga.state is SagaState.STUCK else []
        asking = self._stage is Stage.APPROVAL and not self._approval.decided
        return [*operator, *self._holds.waiting_for(), *([WaitingFor.APPROVAL.value] if asking else [])]

    def _show(self) -> None:
        """Say in the search attributes where the order is; one upsert a change."""
        self._updated_at = workflow.now()
        waiting = self._waiting_for()
        deadline = self._approval.deadline if WaitingFor.APPROVAL in waiting else None
        upsert_changed(
            {
                STAGE: self._stage.value,
                SAGA_STATE: self._saga.state.value,
                WAITING_FOR: waiting,
                DEADLINE: deadline,
            }
        )
