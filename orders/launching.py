"""How an order is launched: its id, what it can be found by, and what rows of lists say of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio.common import SearchAttributePair

from orders import attributes
from orders.messages import OrderInput, Strategy
from workers.contracts import DECIMALS


def major(minor: int, currency: str) -> float:
    """Major units, as search attributes hold them."""
    return float(minor / 10 ** DECIMALS.get(currency, 2))


def workflow_id(order_id: str) -> str:
    """Without the tenant, see workers/client/tenants.py."""
    return f"order-{order_id}"


def attributes_of(order: OrderInput) -> list[SearchAttributePair[Any]]:
    return [
        SearchAttributePair(attributes.CUSTOMER_ID, order.customer_id),
        SearchAttributePair(attributes.STRATEGY, order.strategy.value),
        SearchAttributePair(attributes.ORDER_AMOUNT, major(order.total_minor, order.currency)),
        SearchAttributePair(attributes.PRIORITY, order.priority),
        SearchAttributePair(attributes.IS_PREMIUM, order.strategy is Strategy.PREMIUM),
        SearchAttributePair(attributes.CREATED_DATE, datetime.now(UTC)),
    ]


def memo_of(order: OrderInput) -> dict[str, Any]:
    return {
        "customer_name": order.customer_name,
        "currency": order.currency,
        "item_count": sum(line.quantity for line in order.lines),
        "requester": order.requester,
    }


def identity_of(order: OrderInput) -> dict[str, Any]:
    """What makes an order the same when it is launched again: all but the rules, which are those of the
    first launch, whatever the settings say now."""
    return order.model_dump(exclude={"rules"}, exclude_defaults=True)
