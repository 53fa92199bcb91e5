"""Types that the tests of payloads send, and one that only looks like it could be sent."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workers.payloads.tags import payload_type


@payload_type
class Colour(Enum):
    """An Enum on the allow-list."""

    RED = "red"
    GREEN = 2


class Size(IntEnum):
    """An Enum that is not on it."""

    SMALL = 1


@payload_type
@dataclass(frozen=True)
class Stamp:
    """A dataclass on the allow-list."""

    at: datetime
    colour: Colour = Colour.RED


@payload_type
class Label(BaseModel):
    """A model on the allow-list."""

    text: str
    price: Decimal


class Line(BaseModel):
    """A model like any other: with a hint it comes back, and without one it is a dict."""

    sku: str
    price: Decimal
    quantity: int = 1


class Everything(BaseModel):
    """Each type, declared."""

    model_config = ConfigDict(frozen=True)

    price: Decimal
    at: datetime
    on: date
    hour: time
    lasts: timedelta
    id: uuid.UUID
    colour: Colour
    size: Size
    tags: frozenset[str]
    pair: tuple[int, str]
    blob: bytes
    stamp: Stamp
    lines: list[Line]
    maybe: Decimal | None = None


@dataclass
class Crate:
    """A dataclass with each kind of container."""

    ids: set[uuid.UUID]
    prices: dict[str, Decimal]
    blob: bytes
    line: Line


class Loose(BaseModel):
    """Fields whose types say nothing."""

    model_config = ConfigDict(extra="allow")

    meta: dict[str, Any] = Field(
        default_factory=dict, serialization_alias="metaData", validation_alias="metaData"
    )
    anything: Any = None
    children: list[Loose] = Field(default_factory=list)


@dataclass
class Sealed:
    """Has a secret."""

    name: str
    password: str | None = None
    inner: dict[str, Any] = field(default_factory=dict)
