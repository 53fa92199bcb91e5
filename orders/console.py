"""What the console shows of orders: its line with stages and guards, amount, columns, the JSON API."""

from __future__ import annotations

from dashboard.extend import Column, Line, Money, Stage, register, register_api
from orders import attributes, messages
from orders.api import api

STAGES = (
    Stage(messages.Stage.RECEIVED, "Received"),
    Stage(messages.Stage.RESERVING, "Reserve"),
    Stage(messages.Stage.APPROVAL, "Approval"),
    Stage(messages.Stage.CHARGING, "Charge"),
    Stage(messages.Stage.SHIPPING, "Ship"),
    Stage(messages.Stage.NOTIFYING, "Notify"),
    Stage(messages.Stage.DELIVERED, "Delivered"),
)
GUARDS = {messages.Stage.CHARGING.value: "payments", messages.Stage.SHIPPING.value: "freight"}

register(
    Line(messages.WORKFLOW_TYPE, "Orders", STAGES, GUARDS),
    Money(messages.WORKFLOW_TYPE, attributes.ORDER_AMOUNT.name, "currency"),
    Column("customer_name", "Customer", source="memo"),
    Column(attributes.ORDER_AMOUNT.name, "Amount", kind="money"),
    Column(attributes.STRATEGY.name, "Shipping"),
    Column(attributes.PRIORITY.name, "Priority", kind="number"),
)
register_api("orders/", api.urls)
