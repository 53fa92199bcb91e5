"""`manage.py seed_orders`: orders in every condition, to look at."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from django.core.management.base import CommandError

from orders.demo import SeedRefused, seed
from workers.client.errors import TemporalError
from workers.management.base import TemporalCommand


class Command(TemporalCommand):
    help = "Place the demo's orders; needs a worker and the sandbox. Running it again places nothing new."

    def handle(self, **_: Any) -> None:
        try:
            self.stdout.write(asyncio.run(seed()))
        except (SeedRefused, TemporalError, httpx.HTTPError) as error:
            raise CommandError(f"No demo orders: {error}") from error
