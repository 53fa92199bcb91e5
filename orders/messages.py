"""What order workflows and their activities exchange: pydantic models, safe in the workflow sandbox.

Amounts are integer minor units of the order's currency. Fields have defaults where a history of an older
build may lack them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.contracts import ApprovalPolicy

QUEUE = "order-queue"
WORKFLOW_TYPE = "OrderWorkflow"


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Strategy(StrEnum):
    """How an order is shipped: the first two by the carrier, the last by freight."""

    STANDARD = "standard"
    PREMIUM = "premium"
    INTERNATIONAL = "international"


class Stage(StrEnum):
    """Values of the Stage search attribute; from `delivered` on they are the last ones."""

    RECEIVED = "received"
    RESERVING = "reserving"
    APPROVAL = "approval"
    CHARGING = "charging"
    SHIPPING = "shipping"
    NOTIFYING = "notifying"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"


class Refusal(StrEnum):
    """Types of the non-retryable ApplicationErrors by which a dependency refuses for business reasons."""

    INVALID_ORDER = "InvalidOrder"
    DECLINED = "Declined"
    OUT_OF_STOCK = "OutOfStock"
    UNSHIPPABLE = "Unshippable"


class OrderLine(Message):
    sku: str
    quantity: int
    unit_minor: int


class OrderRules(Message):
    """The rules that an order was launched with; fixed then, as reading settings later breaks replay.

    `approval`: None when no approval is needed. `on_timeout`: approve or reject, after `approval_seconds`.
    `held_retry_seconds`: how long a held order waits, about, before it tries again by itself.
    `undo_attempts`: tries of a compensation before it is stuck and waits for an operator.
    `step_seconds`: one attempt of an effect; longer than the gateway's timeout, so that its answer arrives.
    """

    approval: ApprovalPolicy | None = None
    approval_seconds: float = 86_400
    on_timeout: Literal["approve", "reject"] = "reject"
    held_retry_seconds: float = 60
    undo_attempts: int = 8
    step_seconds: float = 10


class OrderInput(Message):
    """The argument of OrderWorkflow and of `validate_order`."""

    order_id: str
    customer_id: str = ""
    customer_name: str = ""
    requester: str = ""
    currency: str = "EUR"
    lines: list[OrderLine] = Field(default_factory=list)
    total_minor: int = 0
    strategy: Strategy = Strategy.STANDARD
    priority: int = 0
    rules: OrderRules = Field(default_factory=OrderRules)


class Validated(Message):
    """Answer of `validate_order`, which raises a non-retryable InvalidOrder instead of saying no."""

    total_minor: int = 0


class StepInput(Message):
    """The argument of every effect. The gateway does the effect at most once for each `idempotency_key`."""

    order_id: str
    idempotency_key: str
    order: OrderInput


class UndoInput(Message):
    """The argument of every undo.

    `idempotency_key` is the step's: what it did is undone, and a tombstone under it refuses the effect from
    then on, as a timed-out one may arrive late. `undo_key` makes the undo itself happen at most once; `input`
    is what an operator edited.
    """

    order_id: str
    idempotency_key: str
    undo_key: str
    reason: str = ""
    input: dict[str, Any] | None = None


class EffectResult(Message):
    """What the outside calls the effect, for example a charge's or a parcel's number."""

    reference: str = ""
    detail: str = ""


class OrderResult(Message):
    """`outcome` is the sentence for people, `stage` one of the last values of Stage."""

    outcome: str = ""
    stage: Stage = Stage.DELIVERED
