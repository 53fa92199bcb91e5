"""A customer's account as events: orders that are placed, payments for them. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from workers.contracts import Money
from workers.patterns.events.fold import Aggregate, Event, Refused

MAX_OPEN = 500
"""Orders that are not paid in full, at once: the state travels in one payload."""


class Amount(Money):
    """Money that moves: more than nothing, in a currency."""

    minor: int = Field(gt=0, le=10**15)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class PlaceOrder(Event):
    order_id: str = Field(min_length=1, max_length=200)
    amount: Amount


class ProcessPayment(Event):
    order_id: str = Field(min_length=1, max_length=200)
    amount: Amount


class OpenOrder(BaseModel):
    """An order that is not paid in full; minor units."""

    model_config = ConfigDict(frozen=True)

    minor: int
    currency: str
    paid: int = 0


class Account(BaseModel):
    """Open orders by id, how many were paid in full, and for each currency what was paid, in minor units."""

    model_config = ConfigDict(frozen=True)

    open_orders: dict[str, OpenOrder] = Field(default_factory=dict)
    paid_in_full: int = 0
    paid: dict[str, int] = Field(default_factory=dict)


ACCOUNT = Aggregate(Account)


@ACCOUNT.on("place_order", PlaceOrder, ordered_by="order_id")
def place_order(account: Account, event: PlaceOrder) -> Account:
    if event.order_id in account.open_orders:
        raise Refused(f"Order {event.order_id} is placed already.")
    if len(account.open_orders) >= MAX_OPEN:
        raise Refused(f"{MAX_OPEN} orders are open already.")
    order = OpenOrder(minor=event.amount.minor, currency=event.amount.currency)
    return account.model_copy(update={"open_orders": {**account.open_orders, event.order_id: order}})


@ACCOUNT.on("process_payment", ProcessPayment, ordered_by="order_id")
def process_payment(account: Account, event: ProcessPayment) -> Account:
    order = account.open_orders.get(event.order_id)
    if order is None:
        raise Refused(f"No order {event.order_id} is open.")
    if order.currency != event.amount.currency:
        raise Refused(f"Order {event.order_id} is in {order.currency}.")
    paid = order.paid + event.amount.minor
    if paid > order.minor:
        raise Refused(f"Order {event.order_id} has only {order.minor - order.paid} left to pay.")
    orders, done = dict(account.open_orders), paid == order.minor
    orders[event.order_id] = order.model_copy(update={"paid": paid})
    if done:
        del orders[event.order_id]
    sums = {**account.paid, order.currency: account.paid.get(order.currency, 0) + event.amount.minor}
    paid_in_full = account.paid_in_full + done
    return account.model_copy(update={"open_orders": orders, "paid_in_full": paid_in_full, "paid": sums})
