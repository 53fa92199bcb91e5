"""Settings of the orders domain, typed, from the environment."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import Field, NonNegativeInt, StringConstraints

from workers.conf import Conf, WebAddress

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

# About EUR 1,000 each, in minor units: JPY has no decimals, KWD has three.
APPROVAL_ABOVE = {
    "CHF": 95_000,
    "EUR": 100_000,
    "GBP": 85_000,
    "JPY": 160_000,
    "KWD": 330_000,
    "USD": 110_000,
}


class OrdersConf(Conf):
    """Where the outside world is, and the rules an order is launched with."""

    sandbox_url: WebAddress = Field("http://127.0.0.1:8090", alias="SANDBOX_URL")
    gateway_timeout: float = Field(
        3.0, alias="GATEWAY_TIMEOUT", gt=0, le=30, description="seconds, below the activity's"
    )
    approval_above: dict[Currency, NonNegativeInt] = Field(
        APPROVAL_ABOVE, alias="APPROVAL_ABOVE", description="minor units by currency; no other is taken"
    )
    approval_seconds: float = Field(86_400, alias="APPROVAL_SECONDS", gt=0)
    breaker_threshold: int = Field(5, alias="BREAKER_THRESHOLD", ge=1, le=1000)
    breaker_open_seconds: float = Field(300, alias="BREAKER_OPEN_SECONDS", gt=0)


def conf() -> OrdersConf:
    """The settings in force; tests change them by override_settings(ORDERS=...)."""
    from django.conf import settings

    return cast(OrdersConf, settings.ORDERS)  # type: ignore[misc] # composed in the settings module
