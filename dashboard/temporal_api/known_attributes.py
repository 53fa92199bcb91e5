"""Which search attributes the server has, remembered for a while, so that a page need not ask each
time."""

from __future__ import annotations

import time

from temporalio.client import Client

from workers.client import attributes

KEPT_SECONDS = 15.0

_known: dict[tuple[int, str], tuple[float, dict[str, int]]] = {}


async def attribute_types(client: Client) -> dict[str, int]:
    """Types of the custom search attributes by name, at most 15 s old. Raises TemporalUnavailable."""
    key, now = (id(client), client.namespace), time.monotonic()
    at, types = _known.get(key, (0.0, {}))
    if not at or now - at > KEPT_SECONDS:
        types = {name: int(kind) for name, kind in (await attributes.registered(client)).items()}
        _known.clear()  # one process has one client; what an old one knew is of no use
        _known[key] = (now, types)
    return types
