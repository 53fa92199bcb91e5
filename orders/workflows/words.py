"""What an order says of itself: one plain sentence on what happens next."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from orders.messages import Stage
    from workers.contracts import ApprovalStatus, SagaState

_NEXT = {
    Stage.RECEIVED: "The order is being checked.",
    Stage.RESERVING: "Stock is being reserved.",
    Stage.CHARGING: "The payment is being taken.",
    Stage.SHIPPING: "The shipment is being booked.",
    Stage.NOTIFYING: "Notifying the customer and the warehouse.",
    Stage.DELIVERED: "Nothing: the order is on its way.",
    Stage.REJECTED: "Nothing: the order was rejected.",
    Stage.CANCELLED: "Nothing: the order was cancelled.",
    Stage.DECLINED: "Nothing: the order was declined.",
    Stage.EXPIRED: "Nothing: the approval's deadline has passed.",
}


def next_sentence(stage: Stage, saga: SagaState, held: list[str], approval: ApprovalStatus) -> str:
    """What happens next, or who has to do something."""
    if saga is SagaState.STUCK:
        return "A compensation failed; an operator must decide how to go on."
    if saga is SagaState.COMPENSATING:
        return "What was done is being undone."
    if held:
        return f"Held until {' and '.join(held)} works again; then it goes on by itself."
    if stage is Stage.APPROVAL:
        votes = "1 vote" if approval.missing == 1 else f"{approval.missing} votes"
        until = f" until {approval.deadline:%Y-%m-%d %H:%M} UTC" if approval.deadline else ""
        return f"Waits for {votes}{until}; without a decision it will be {_ending(approval.on_timeout)}."
    return _NEXT[stage]


def _ending(on_timeout: str) -> str:
    return "approved" if on_timeout == "approve" else "rejected"
