"""What the console shows of orders: its pipeline with stages and breakers, amount, columns, the JSON API."""

from __future__ import annotations

from dashboard.extend import Column, Ending, Money, Pipeline, Stage, register, register_api
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
BREAKERS = {messages.Stage.CHARGING.value: "payments", messages.Stage.SHIPPING.value: "freight"}

ENDINGS: dict[str, Ending] = {messages.Stage.REJECTED: "rejected", messages.Stage.CANCELLED: "cancelled"}

TYPE = messages.WORKFLOW_TYPE

register(
    Pipeline(TYPE, "Orders", STAGES, BREAKERS, ENDINGS),
    Money(TYPE, attributes.ORDER_AMOUNT.name, "currency"),
    Column("customer_name", "Customer", source="memo", beside_id=True, workflow_type=TYPE),
    Column(attributes.ORDER_AMOUNT.name, "Amount", kind="money", workflow_type=TYPE),
    Column(attributes.STRATEGY.name, "Shipping", workflow_type=TYPE),
    Column(attributes.PRIORITY.name, "Priority", kind="number", workflow_type=TYPE),
)
register_api("orders/", api.urls)
