"""The example of docs/patterns/payloads.md: a secret that only an activity sees, and untyped values."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel
from temporalio import activity

from workers.payloads.claims import reveal
from workers.payloads.tags import payload_type


@payload_type
class Tier(Enum):
    BASIC = "basic"
    GOLD = "gold"


class Account(BaseModel):
    name: str
    password: str
    limits: dict[str, Any]


@activity.defn(no_thread_cancel_exception=True)
def open_account(account: Account) -> dict[str, Any]:
    password = reveal(account.password)
    return {"name": account.name, "strong": len(password) > 12, **account.limits}


LIMITS = {"daily": Decimal("250.00"), "tier": Tier.GOLD, "countries": {"DE", "FR"}}
