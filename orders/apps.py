"""The orders app, and what it asks of `manage.py up`."""

from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """`processes`: arguments of manage.py by name, `{port}` is a port that is free for it.
    `demo_environment`: what all processes of a demo see unless the person says otherwise.
    `seed`: arguments of manage.py, run once the worker is ready."""

    name = "orders"
    processes: ClassVar[dict[str, tuple[str, ...]]] = {"sandbox": ("sandbox", "--port", "{port}")}
    demo_environment: ClassVar[dict[str, str]] = {
        "SANDBOX_URL": "http://127.0.0.1:{sandbox}",
        "BREAKER_OPEN_SECONDS": "30",  # short enough to watch it heal
    }
    seed: ClassVar[tuple[str, ...]] = ("seed_orders",)
