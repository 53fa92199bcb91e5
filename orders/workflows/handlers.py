"""The signals, queries and search attributes of an order. OrderWorkflow inherits this and runs the steps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from orders.messages import OrderInput, Stage, StepInput, UndoInput
    from orders.workflows.words import next_sentence
    from workers.client.attributes import DEADLINE, STAGE
    from workers.contracts import Money, SagaState, Status, WaitingFor
    from workers.patterns.approval.approval import Approval
    from workers.patterns.approval.handlers import ApprovalHandlers
    from workers.patterns.saga.handlers import SagaHandlers
    from workers.patterns.saga.steps import ActivityOptions


class OrderHandlers(SagaHandlers, ApprovalHandlers):
    """Answers get_status and get_state besides what a saga and an approval answer."""

    def __init__(self, order: OrderInput) -> None:
        rules = order.rules
        timeout = ActivityOptions(start_to_close_timeout=timedelta(seconds=rules.step_seconds))
        undo_retry = RetryPolicy(maximum_attempts=rules.undo_attempts, maximum_interval=timedelta(seconds=15))
        super().__init__(
            subject="The order",
            held_retry=timedelta(seconds=rules.held_retry_seconds),
            undo_input=self._undo_input,
            forward=timeout,
            undo={**timeout, "retry_policy": undo_retry},
        )
        self._order = order
        self._stage = Stage.RECEIVED
        self._outcome = ""
        self._money = Money(minor=order.total_minor, currency=order.currency)
        self._references: dict[str, str] = {}
        self.approval = Approval(
            rules.approval,
            requester=order.requester,
            subject=f"Order {order.order_id}",
            amount=self._money,
            on_timeout=rules.on_timeout,
        )

    @workflow.query(name="get_status", description="Where the order is and what happens next.")
    def get_status(self) -> Status:
        saga = self.saga.state
        if saga is SagaState.RUNNING and self.saga.cancelled_by is not None:
            saga = SagaState.COMPENSATING  # the running step ends first, but what follows is decided
        sentence = next_sentence(self._stage, saga, self.calls.held, self.approval.status())
        return Status(
            status=self.saga.state,
            stage=self._stage,
            updated_at=self.updated_at,
            waiting_for=self.waiting_for(),
            summary=self._outcome or sentence,
        )

    @workflow.query(name="get_state", description="What the order knows, as JSON.")
    def get_state(self) -> dict[str, Any]:
        order = self._order.model_dump(mode="json", exclude={"customer_name", "lines"})
        return {"order": order, "references": self._references, "decisions": len(self.decisions.verdicts)}

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
        self.show()

    @property
    def _asking(self) -> bool:
        return self._stage is Stage.APPROVAL and not self.approval.decided

    def waiting_for(self) -> list[str]:
        return [*super().waiting_for(), *([WaitingFor.APPROVAL.value] if self._asking else [])]

    def attributes(self) -> dict[SearchAttributeKey[Any], Any]:
        deadline = self.approval.deadline if self._asking else None
        return {**super().attributes(), STAGE: self._stage.value, DEADLINE: deadline}
