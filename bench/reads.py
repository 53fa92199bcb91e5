"""The list page in the server, over the two Temporal calls that it cannot do without."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from django.contrib.auth.models import User
from django.test import AsyncClient
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client

from bench.results import Row, at_most, measured
from dashboard.live import cached_read
from tests.dashboard.paths import MOST_FILES, traced
from tests.support import HTMX

PAGE = 100


async def _calls(client: Client, query: str) -> float:
    """The list and the grouped count side by side, as raw as they come."""
    began = time.perf_counter()
    service = client.workflow_service
    await asyncio.gather(
        service.list_workflow_executions(
            ListWorkflowExecutionsRequest(namespace=client.namespace, page_size=PAGE, query=query)
        ),
        service.count_workflow_executions(
            CountWorkflowExecutionsRequest(
                namespace=client.namespace, query=f"{query} GROUP BY ExecutionStatus"
            )
        ),
    )
    return time.perf_counter() - began


async def _page(http: AsyncClient, url: str) -> float:
    cached_read.forget()  # else the read is shared with the one before
    began = time.perf_counter()
    response = await http.get(url)
    took = time.perf_counter() - began
    assert response.status_code == 200, response.status_code
    assert response.content.count(b"<tr") > PAGE, "the page has fewer rows than it should"
    return took


async def measure(client: Client, url: str, query: str, user: User, rounds: int) -> list[Row]:
    """Medians of page and calls, taken in turn."""
    http = AsyncClient()
    await http.aforce_login(user)
    pages, calls = list[float](), list[float]()
    cached_read.forget()
    with traced() as trace:
        await http.get(url, headers=HTMX)
    for number in range(rounds + 3):
        pair = (await _page(http, url), await _calls(client, query))
        if number >= 3:
            pages.append(pair[0])
            calls.append(pair[1])
    return [
        measured("list page in the server", median(pages) * 1000, "ms"),
        measured("its Temporal calls alone", median(calls) * 1000, "ms"),
        at_most("list page over its Temporal calls", median(pages) / median(calls), "x", 2),
        at_most("list filter, from URL to row", len(trace.files), "files", MOST_FILES),
    ]
