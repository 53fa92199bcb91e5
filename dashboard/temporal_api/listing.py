"""A list straight from the server, page by page, up to a limit."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client

from dashboard.temporal_api.rows import Row, read_rows
from workers.client.errors import rpc_errors
from workers.conf import conf

PAGE = 500
STRIDE = 100  # rows between which other requests of this process get their turn


async def listed(client: Client, query: str, most: int) -> tuple[list[Row], bool]:
    """Up to `most` rows of a query that already carries the viewer's scope, and whether these are all.

    Raises BadQuery, TemporalUnavailable.
    """
    rows, token = list[Row](), b""
    while True:
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace,
            query=query,
            page_size=min(PAGE, most - len(rows) + 1),
            next_page_token=token,
        )
        with rpc_errors():
            answer = await client.workflow_service.list_workflow_executions(
                request, retry=True, timeout=timedelta(seconds=conf().rpc_timeout)
            )
        for start in range(0, len(answer.executions), STRIDE):
            rows += await read_rows(client, answer.executions[start : start + STRIDE])
            await asyncio.sleep(0)
        token = answer.next_page_token
        if not token or len(rows) > most:
            return rows[:most], len(rows) <= most
