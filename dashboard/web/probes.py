"""Probes for the operator of the console: alive, and ready to serve. They need no login and tell no
addresses."""

from __future__ import annotations

from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from workers.client.connection import get_client
from workers.client.errors import TemporalError, rpc_errors
from workers.conf import conf


async def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers."""
    return JsonResponse({"status": "ok"})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "The database does not answer."
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


async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when database and Temporal answer, else 503 with a sentence for each that does not."""
    checks = {"database": await sync_to_async(_database)(), "temporal": await _temporal()}
    ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", **checks}, status=200 if ready else 503)
