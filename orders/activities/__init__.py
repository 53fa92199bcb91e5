"""The activities of an order, by name, and all of them for the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orders.activities.effects import (
    book_freight,
    book_shipment,
    cancel_freight,
    cancel_shipment,
    charge_payment,
    notify_customer,
    notify_warehouse,
    refund_payment,
    release_stock,
    reserve_stock,
)
from orders.activities.validate import validate_order

ALL: tuple[Callable[..., Any], ...] = (
    validate_order,
    reserve_stock,
    release_stock,
    charge_payment,
    refund_payment,
    book_shipment,
    cancel_shipment,
    book_freight,
    cancel_freight,
    notify_customer,
    notify_warehouse,
)
