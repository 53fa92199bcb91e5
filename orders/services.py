"""Placing an order: the row, the rules it is launched with, and its workflow, each at most once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from temporalio.client import Client

from orders.conf import conf
from orders.launching import workflow_id
from orders.messages import WORKFLOW_TYPE, OrderInput, OrderLine, OrderRules, Strategy
from orders.models import Order
from orders.validation import NewOrder
from workers.client.launch import launch
from workers.client.tenants import full_id
from workers.conf import conf as workers_conf
from workers.contracts import ApprovalPolicy

APPROVERS = ["approver"]
ANSWER_SECONDS = 7  # a try outlives its gateway call by these, so that a lost answer is seen as one
LARGE = 10  # times the limit of approval: from there on it takes two, neither of them the requester


class OrderConflict(Exception):
    """The order id was used before, for another order. `message` is safe to show."""

    def __init__(self, order_id: str) -> None:
        self.message = f"Order {order_id} exists already, with other contents. Nothing was changed."
        super().__init__(self.message)


class UnknownCurrency(Exception):
    """No limit of approval is set for the currency of an order. `message` is safe to show."""

    def __init__(self, currency: str, known: Iterable[str]) -> None:
        self.message = (
            f"Orders in {currency} cannot be placed; these currencies can: {', '.join(sorted(known))}."
        )
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Placed:
    """`created`: the workflow was started by this call, or by one before that did not finish."""

    order: Order
    created: bool


def approval_for(total_minor: int, currency: str) -> ApprovalPolicy | None:
    """The approval policy for an order of this size (minor units), by the limit of its currency; None when no
    approval is needed. Raises UnknownCurrency."""
    limits = conf().approval_above
    if currency not in limits:
        raise UnknownCurrency(currency, limits)
    if total_minor <= limits[currency]:
        return None
    if total_minor <= LARGE * limits[currency]:
        return ApprovalPolicy(quorum=1, roles=APPROVERS)
    return ApprovalPolicy(quorum=2, roles=APPROVERS, self_approval=False)


def rules_for(total_minor: int, currency: str) -> OrderRules:
    """The rules in force now; an order keeps those it was launched with. Raises UnknownCurrency."""
    return OrderRules(
        approval=approval_for(total_minor, currency),
        approval_seconds=conf().approval_seconds,
        step_seconds=conf().gateway_timeout + ANSWER_SECONDS,
    )


def workflow_id_of(order_id: str, tenant: str) -> str:
    """The id of the workflow of an order that is placed for a tenant."""
    return full_id(workflow_id(order_id), tenant)


def _fields(new: NewOrder) -> dict[str, Any]:
    return new.model_dump(mode="json", exclude={"order_id"})


def _row(new: NewOrder, requester: str, tenant: str) -> tuple[Order, bool]:
    """The row of this order, made if need be. Raises OrderConflict when the id stands for another order."""
    fields = _fields(new)
    order, created = Order.objects.get_or_create(
        tenant=tenant,
        order_id=new.order_id,
        defaults={
            **fields,
            "workflow_id": workflow_id_of(new.order_id, tenant),
            "created_by": requester,
        },
    )
    if any(getattr(order, name) != value for name, value in fields.items()):
        raise OrderConflict(new.order_id)
    return order, created


def _input(order: Order, rules: OrderRules) -> OrderInput:
    return OrderInput(
        order_id=order.order_id,
        customer_id=order.customer_id,
        customer_name=order.customer_name,
        requester=order.created_by,
        currency=order.currency,
        lines=[OrderLine.model_validate(line) for line in order.lines],
        total_minor=order.total_minor,
        strategy=Strategy(order.strategy),
        priority=order.priority,
        rules=rules,
    )


async def place_order(
    new: NewOrder,
    *,
    requester: str,
    tenant: str | None = None,
    rules: OrderRules | None = None,
    client: Client | None = None,
) -> Placed:
    """Keep the order and start its workflow. Again with the same contents: the order as it is.

    The row comes first, so that a call that dies between the two is finished by calling again. `tenant`: that
    of the settings when None; `rules`: those in force when None. Raises OrderConflict,
    UnknownCurrency, and TemporalError where the workflow cannot be started.
    """
    rules = rules or rules_for(new.total_minor, new.currency)  # first: what is refused leaves no row
    order, _ = await sync_to_async(_row)(new, requester, tenant or workers_conf().tenant)
    if order.first_run_id:
        return Placed(order, created=False)
    handle = await launch(WORKFLOW_TYPE, _input(order, rules), tenant=order.tenant, client=client)
    order.first_run_id = handle.first_execution_run_id or handle.run_id or ""
    await order.asave(update_fields=["first_run_id"])
    return Placed(order, created=True)
