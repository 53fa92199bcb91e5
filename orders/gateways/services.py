"""What an order asks of each service, in that service's terms."""

from __future__ import annotations

from typing import Any

from orders.gateways import http
from orders.messages import EffectResult, StepInput, UndoInput


def _effect(dependency: str, step: StepInput, **more: Any) -> EffectResult:
    body = {
        "key": step.idempotency_key,
        "order_id": step.order_id,
        "customer_id": step.order.customer_id,
        **more,
    }
    return http.post(dependency, "effects", body)


def _items(step: StepInput) -> list[dict[str, Any]]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in step.order.lines]


def charge(step: StepInput) -> EffectResult:
    """Charge the order's total, in minor units of its currency."""
    return _effect("payments", step, amount_minor=step.order.total_minor, currency=step.order.currency)


def reserve(step: StepInput) -> EffectResult:
    return _effect("stock", step, items=_items(step))


def ship(dependency: str, step: StepInput) -> EffectResult:
    """Book a parcel; `dependency` is carrier or freight."""
    return _effect(dependency, step, items=_items(step))


def notify(step: StepInput, audience: str) -> EffectResult:
    """Tell the customer or the warehouse. The key has the audience, as both are notified in one step."""
    body = {"key": f"{step.idempotency_key}/{audience}", "order_id": step.order_id, "note": f"to {audience}"}
    return http.post("notifications", "effects", body)


def undo(dependency: str, undo_input: UndoInput) -> EffectResult:
    """Undo at most once by `undo_key`, and leave a tombstone under the step's key."""
    body = {
        "key": undo_input.idempotency_key,
        "undo_key": undo_input.undo_key,
        "order_id": undo_input.order_id,
        "reason": undo_input.reason[:200],
    }
    return http.post(dependency, "undo", body)
