"""What the sandbox services accept, checked before anything is written."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Key = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[\x21-\x7e]+$")]
Short = Annotated[str, Field(max_length=200)]
OrderId = Annotated[str, Field(min_length=1, max_length=120)]


class Service(StrEnum):
    """The dependencies of an order, each under a path of its own."""

    PAYMENTS = "payments"
    STOCK = "stock"
    CARRIER = "carrier"
    FREIGHT = "freight"
    NOTIFICATIONS = "notifications"


class Mode(StrEnum):
    """How a service misbehaves. `accept_then_timeout` does the effect and withholds the answer."""

    NONE = "none"
    LATENCY = "latency"
    ERRORS = "errors"
    OUTAGE = "outage"
    ACCEPT_THEN_TIMEOUT = "accept_then_timeout"
    REFUSE_UNDO = "refuse_undo"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Item(Body):
    sku: Annotated[str, Field(min_length=1, max_length=64)]
    quantity: int = Field(ge=1, le=1_000_000)


class EffectBody(Body):
    """An effect. `amount_minor` in minor units of `currency` where money moves; `items` where goods do."""

    key: Key
    order_id: OrderId
    customer_id: Short = ""
    amount_minor: int = Field(0, ge=0, le=10**15)
    currency: str = Field("", pattern=r"^([A-Z]{3})?$")
    items: list[Item] = Field(default_factory=list, max_length=500)
    note: Short = ""

    @model_validator(mode="after")
    def _currency(self) -> EffectBody:
        if self.amount_minor and not self.currency:
            raise ValueError("an amount needs its currency")
        return self


class UndoBody(Body):
    """Take back what was done under `key`; `undo_key` makes that happen at most once."""

    key: Key
    undo_key: Key
    order_id: OrderId
    reason: Short = ""


class Fault(Body):
    """`rate`: share of calls that it strikes, 0 to 1. `order_prefix`: only orders whose id starts with it."""

    mode: Mode = Mode.NONE
    latency_ms: int = Field(0, ge=0, le=60_000)
    rate: float = Field(1.0, ge=0, le=1)
    order_prefix: str = Field("", max_length=120)

    def strikes(self, order_id: str, chance: float) -> bool:
        """Whether it hits a call for this order; `chance` is the call's random number in [0, 1)."""
        return self.mode is not Mode.NONE and chance < self.rate and order_id.startswith(self.order_prefix)
