"""What all contracts share: tolerance, and money."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Money(Contract):
    """An amount in integer minor units (cents for EUR) with its ISO 4217 currency."""

    minor: int = 0
    currency: str = ""
