"""`manage.py faults [SERVICE MODE]`: show or set how the sandbox misbehaves."""

from __future__ import annotations

from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.conf import conf
from orders.sandbox.schemas import Mode, Service


class Command(BaseCommand):
    help = "Show the faults of the sandbox services, or set one: manage.py faults payments outage"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("service", nargs="?", choices=[item.value for item in Service])
        parser.add_argument("mode", nargs="?", choices=[item.value for item in Mode])
        parser.add_argument("--latency-ms", type=int, default=0)
        parser.add_argument("--rate", type=float, default=1.0, help="share of the calls, 0 to 1")
        parser.add_argument("--order-prefix", default="", help="only orders whose id starts with it")

    def handle(self, *, service: str | None, mode: str | None, **options: Any) -> None:
        if service and not mode:
            raise CommandError("Say the mode too, for example: manage.py faults payments outage")
        body = {"mode": mode, **{name: options[name] for name in ("latency_ms", "rate", "order_prefix")}}
        try:
            with httpx.Client(base_url=conf().sandbox_url, timeout=5, trust_env=False) as client:
                if service:
                    answer = client.put(f"/faults/{service}", json=body)
                    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                        raise CommandError(f"Refused: {answer.json()['fields']}")
                faults = client.get("/faults").raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise CommandError(f"The sandbox does not answer at {conf().sandbox_url}: {error}") from error
        for name, fault in faults.items():
            self.stdout.write(f"{name:14}{self._words(fault)}")

    @staticmethod
    def _words(fault: dict[str, Any]) -> str:
        if fault["mode"] == Mode.NONE:
            return "works"
        words = [fault["mode"]]
        if fault["latency_ms"]:
            words.append(f"{fault['latency_ms']} ms")
        if fault["rate"] < 1:
            words.append(f"{fault['rate']:.0%} of calls")
        if fault["order_prefix"]:
            words.append(f"orders {fault['order_prefix']}...")
        return ", ".join(words)
