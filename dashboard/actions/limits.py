"""How many requests one viewer may send to one workflow: each one is a signal, which stays in its history."""

from __future__ import annotations

import hashlib
import json
import time

from django.core.cache import cache

from dashboard.access import Viewer
from dashboard.errors import TooMany

MOST, WINDOW = 20, 60  # requests, seconds


async def count_request(viewer: Viewer, workflow_id: str) -> None:
    """Count one more in the present window of time. Raises TooMany above the limit.

    Counted in Django's default cache: in each web process by itself, unless the processes share one.
    """
    now = time.time()
    who = json.dumps([viewer.name, viewer.namespace, workflow_id, int(now // WINDOW)])
    key = f"requests:{hashlib.sha256(who.encode()).hexdigest()}"
    await cache.aadd(key, 0, WINDOW)
    try:
        sent = await cache.aincr(key)
    except ValueError:  # the cache was full, and dropped it in between
        sent = 1
    if sent > MOST:
        raise TooMany(MOST, WINDOW - int(now % WINDOW))
