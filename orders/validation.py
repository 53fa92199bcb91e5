"""How an order must look, in one place: for the JSON API, for `place_order` and for `validate_order`."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from orders.messages import OrderInput, Strategy
from workers.payloads.validation import fields_of

MOST_LINES = 500
LARGEST_MINOR = 10**12

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$", max_length=60)]
PlainText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Line(BaseModel):
    """`unit_minor`: price of one, in minor units of the order's currency."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sku: Identifier
    quantity: int = Field(ge=1, le=1_000_000)
    unit_minor: int = Field(ge=1, le=LARGEST_MINOR)


class NewOrder(BaseModel):
    """An order as it is placed. `total_minor` must be the sum of the lines: the customer agreed to that."""

    model_config = ConfigDict(extra="forbid")

    order_id: Identifier
    customer_id: Identifier
    customer_name: PlainText
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field("EUR", description="ISO 4217")
    lines: list[Line] = Field(min_length=1, max_length=MOST_LINES)
    total_minor: int = Field(ge=1, le=LARGEST_MINOR, strict=True)
    strategy: Strategy = Strategy.STANDARD
    priority: int = Field(0, ge=0, le=9, strict=True)

    @field_validator("total_minor")
    @classmethod
    def _sum(cls, value: int, info: ValidationInfo) -> int:
        lines: list[Line] | None = info.data.get("lines")
        if lines is not None and (right := sum(line.quantity * line.unit_minor for line in lines)) != value:
            raise PydanticCustomError(
                "total", "the lines add up to {right}, not {value}", {"right": right, "value": value}
            )
        return value


def problems(order: OrderInput) -> dict[str, str]:
    """What is wrong with an order that reached a workflow: field -> sentence, empty when nothing is."""
    try:
        NewOrder.model_validate(order.model_dump(include=set(NewOrder.model_fields)))
    except ValidationError as error:
        return fields_of(error.errors(include_url=False, include_input=False, include_context=False))
    return {}
