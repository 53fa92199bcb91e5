"""Probes for the operator of the console: alive, and ready to serve. They need no login and show no address.

Ready means: this process answers, and its database can be read and written. Temporal's state is in the answer
and changes nothing: a console without Temporal shows its last state, which is better than none.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from workers.client.connection import get_client
from workers.client.errors import TemporalError, rpc_errors
from workers.conf import conf

FRESH = 1.0  # seconds: probes need no login, so a thousand of them must not be a thousand writes
PROBE_KEY = "readyz"  # of a row that is no session: it is empty, and has expired
PAST = datetime(2000, 1, 1, tzinfo=UTC)

_last: tuple[float, dict[str, str]] | None = None
_checking: asyncio.Task[dict[str, str]] | None = None


async def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers."""
    return JsonResponse({"status": "ok"})


def _database() -> str:
    """A write that is committed: what is full or read-only can still be read."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "The database does not answer."
    try:
        Session.objects.update_or_create(
            session_key=PROBE_KEY, defaults={"session_data": "", "expire_date": PAST}
        )
    except DatabaseError:
        return "The database cannot be written: it is locked, full or read-only."
    return "ok"


async def _temporal() -> str:
    try:
        client = await get_client()
        with rpc_errors():
            await client.workflow_service.get_system_info(
                GetSystemInfoRequest(), retry=False, timeout=timedelta(seconds=conf().rpc_timeout)
            )
    except TemporalError as error:
        return error.message
    return "ok"


async def _check() -> dict[str, str]:
    global _last  # noqa: PLW0603 (one process, one state)
    database, temporal = await asyncio.gather(sync_to_async(_database)(), _temporal())
    _last = time.monotonic() + FRESH, {"database": database, "temporal": temporal}
    return _last[1]


async def _checks() -> dict[str, str]:
    """At most a second old, and checked once for all who wait."""
    global _checking  # noqa: PLW0603
    if _last and time.monotonic() < _last[0]:
        return _last[1]
    if _checking is None or _checking.done() or _checking.get_loop() is not asyncio.get_running_loop():
        _checking = asyncio.create_task(_check())
    return await asyncio.shield(_checking)


async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database can be written, else 503; a sentence for what does not answer, Temporal too."""
    checks = await _checks()
    ready = checks["database"] == "ok"
    return JsonResponse({"status": "ok" if ready else "unavailable", **checks}, status=200 if ready else 503)
