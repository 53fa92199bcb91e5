"""What a worker counts, read where Prometheus reads it: ends and outcomes by the SDK, the rest by us."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import MetricMeter
from temporalio.worker import Worker

from tests.support import eventually
from tests.workers.interceptors import ending_workflows as endings
from tests.workers.process.test_runworker import free_port
from workers import counters
from workers.client.connection import connect
from workers.client.tenancy import tenant_context
from workers.process import metrics
from workers.process.plugins import worker_plugins

LINE = re.compile(r"^(\w+)\{(.*)\} (\d+)$", re.MULTILINE)


async def counted(port: int, name: str, **labels: str) -> int:
    """The sum over all series of the metric `name` that have these labels."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    return sum(
        int(value)
        for found, own, value in LINE.findall(text)
        if found == name and wanted <= set(re.findall(r'\w+="[^"]*"', own))
    )


async def test_every_way_to_end_is_counted_once(client: Client, queue: str, django_db_blocker: Any):
    port = free_port()
    watched = await connect(for_worker=True, runtime=metrics.runtime("127.0.0.1", port))
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

            for how in ("completed", "failed", "failed"):
                await run(how)
            await run("completed", "acme", "globex~")
            expected = {
                ("temporal_workflow_completed_total", (("workflow_type", "Ending"),)): 1,
                ("temporal_workflow_failed_total", (("workflow_type", "Ending"),)): 3,
                ("temporal_activity_execution_failed_total", (("activity_type", "end"),)): 2,
                ("temporal_activity_execution_latency_count", (("activity_type", "end"),)): 3,
                ("signalbox_tenant_refusals_total", (("kind", "workflow"), ("workflow_type", "Ending"))): 1,
            }

            async def seen() -> dict[Any, int]:
                return {key: await counted(port, key[0], **dict(key[1])) for key in expected}

            async def all_there() -> bool:
                return await seen() == expected

            try:
                await eventually(all_there, timeout=15)
            except AssertionError:
                assert await seen() == expected


async def test_what_is_counted_outside_of_runs_goes_to_the_same_port():
    port = free_port()
    made = metrics.runtime("127.0.0.1", port)
    counters.count("audit_failures")
    assert await counted(port, "signalbox_audit_failures_total") == 1
    del made


def test_without_a_port_nothing_is_counted():
    metrics.runtime("127.0.0.1", 0)
    assert counters._process is MetricMeter.noop
    counters.count("audit_failures")
