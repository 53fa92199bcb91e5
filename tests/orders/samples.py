"""Orders for tests, valid unless told otherwise."""

from __future__ import annotations

import uuid
from typing import Any

from orders.messages import OrderInput, StepInput
from orders.validation import NewOrder


def body(**changes: Any) -> dict[str, Any]:
    """JSON of an order of 98.00 EUR, as the API takes it."""
    return {
        "order_id": f"t-{uuid.uuid4().hex[:12]}",
        "customer_id": "customer-1",
        "customer_name": "Café Zentral",
        "currency": "EUR",
        "lines": [{"sku": "SKU-LAMP", "quantity": 2, "unit_minor": 4900}],
        "total_minor": 9800,
        "strategy": "standard",
        "priority": 3,
        **changes,
    }


def new_order(**changes: Any) -> NewOrder:
    return NewOrder.model_validate(body(**changes))


def sized(total_minor: int, **changes: Any) -> NewOrder:
    """One line of that amount."""
    lines = [{"sku": "SKU-DESK", "quantity": 1, "unit_minor": total_minor}]
    return new_order(lines=lines, total_minor=total_minor, **changes)


def step(key: str = "", **changes: Any) -> StepInput:
    order = OrderInput.model_validate(body(**changes))
    return StepInput(order_id=order.order_id, idempotency_key=key or f"{order.order_id}/step", order=order)
