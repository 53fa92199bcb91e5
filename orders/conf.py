"""Settings of the orders domain, typed, from the environment."""

from __future__ import annotations

from typing import cast

from pydantic import Field

from workers.conf import Conf, WebAddress


class OrdersConf(Conf):
    """Where the outside world is, and the rules an order is launched with."""

    sandbox_url: WebAddress = Field("http://127.0.0.1:8090", alias="SANDBOX_URL")
    gateway_timeout: float = Field(
        3.0, alias="GATEWAY_TIMEOUT", gt=0, le=30, description="seconds, below the activity's"
    )
    approval_above_minor: int = Field(100_000, alias="APPROVAL_ABOVE_MINOR", ge=0, description="minor units")
    approval_seconds: float = Field(86_400, alias="APPROVAL_SECONDS", gt=0)
    breaker_threshold: int = Field(5, alias="BREAKER_THRESHOLD", ge=1, le=1000)
    breaker_open_seconds: float = Field(300, alias="BREAKER_OPEN_SECONDS", gt=0)


def conf() -> OrdersConf:
    """The settings in force; tests change them by override_settings(ORDERS=...)."""
    from django.conf import settings

    return cast(OrdersConf, settings.ORDERS)  # type: ignore[misc] # composed in the settings module
