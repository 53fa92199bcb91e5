"""What a process counts, read where Prometheus reads it."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from tests.support import eventually
from tests.workers.interceptors import ending_workflows as endings
from tests.workers.process.test_runworker import free_port
from workers import counters
from workers.client.connection import connect
from workers.client.tenancy import tenant_context
from workers.process import metrics
from workers.process.plugins import worker_plugins

LINE = re.compile(r"^signalbox_(\w+?)_total\{(.*)\} (\d+)$", re.MULTILINE)
SDK = {"service_name"}


@pytest.fixture
def port(monkeypatch) -> int:
    monkeypatch.setattr(counters, "_counters", {})
    return free_port()


async def counted(port: int) -> dict[tuple[str, frozenset[str]], int]:
    """(counter, labels of ours) -> value."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    found = {}
    for name, labels, value in LINE.findall(text):
        own = frozenset(part for part in re.findall(r'\w+="[^"]*"', labels) if part.split("=")[0] not in SDK)
        found[name, own] = int(value)
    return found


def labels(**wanted: str) -> frozenset[str]:
    return frozenset(f'{name}="{value}"' for name, value in wanted.items())


async def test_every_way_to_end_is_counted_once(server, queue, port, django_db_blocker, client):
    watched = await connect(patient=True, runtime=metrics.runtime("127.0.0.1", port))
    with django_db_blocker.unblock(), ThreadPoolExecutor(4) as threads:
        async with Worker(
            watched,
            task_queue=queue,
            workflows=[endings.EndingWorkflow],
            activities=[endings.end],
            activity_executor=threads,
            plugins=worker_plugins(),
            max_cached_workflows=0,  # each task replays, which must not count again
        ):

            async def run(how: str, tenant: str | None = None, prefix: str = "") -> None:
                with tenant_context(tenant, None):
                    handle = await watched.start_workflow(
                        "Ending", how, id=f"{prefix}end-{uuid.uuid4().hex}", task_queue=queue
                    )
                with suppress(WorkflowFailureError):
                    await handle.result()

            for how in ("completed", "failed", "CircuitOpen", "RateLimited"):
                await run(how)
            await run("completed", "acme", "globex~")
            expected = {
                ("activities", labels(activity_type="end", outcome="completed")): 1,
                ("activities", labels(activity_type="end", outcome="failed")): 1,
                ("activities", labels(activity_type="end", outcome="refused")): 2,
                ("breaker_refusals", labels(dependency="payments")): 1,
                ("tenant_refusals", labels(kind="workflow")): 1,
                ("workflow_ends", labels(workflow_type="Ending", outcome="completed")): 1,
                ("workflow_ends", labels(workflow_type="Ending", outcome="failed")): 4,
            }

            async def all_there() -> bool:
                return await counted(port) == expected

            try:
                await eventually(all_there, timeout=15)
            except AssertionError:
                assert await counted(port) == expected


def test_without_a_port_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(counters, "_counters", {})
    metrics.runtime("127.0.0.1", 0)
    assert not counters.enabled()
    counters.count("activities", outcome="completed")
