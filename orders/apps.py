"""The reference domain: what of it `manage.py up` starts and seeds."""

from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """`processes`: name -> arguments of manage.py, run beside the worker and the web server; `{<name>_port}`
    is a port that is free for that process. `demo_environment`: what all processes of a demo see unless the
    person says otherwise. `seed`: the command that makes demo data, run once the worker is ready."""

    name = "orders"
    processes: ClassVar[dict[str, tuple[str, ...]]] = {"sandbox": ("sandbox", "--port", "{sandbox_port}")}
    demo_environment: ClassVar[dict[str, str]] = {
        "SANDBOX_URL": "http://127.0.0.1:{sandbox_port}",
        "BREAKER_OPEN_SECONDS": "30",  # short enough to watch it heal
    }
    seed: ClassVar[str] = "seed_orders"
