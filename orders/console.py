"""What the console shows of orders: its pipeline with stages and breakers, amount, columns, the JSON API."""

from __future__ import annotations

from dashboard.extend import Column, Money, Pipeline, Stage, register, register_api
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

register(
    Pipeline(messages.WORKFLOW_TYPE, "Orders", STAGES, BREAKERS),
    Money(messages.WORKFLOW_TYPE, attributes.ORDER_AMOUNT.name, "currency"),
    Column("customer_name", "Customer", source="memo"),
    Column(attributes.ORDER_AMOUNT.name, "Amount", kind="money"),
    Column(attributes.STRATEGY.name, "Shipping"),
    Column(attributes.PRIORITY.name, "Priority", kind="number"),
)
register_api("orders/", api.urls)
