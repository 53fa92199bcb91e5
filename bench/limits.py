"""What hostile input costs: memos that unpack to megabytes, many lists; and verifying the audit's chain."""

from __future__ import annotations

import time
import uuid
import zlib
from datetime import UTC, datetime
from pathlib import Path

from django.contrib.auth.models import User
from django.db import transaction
from django.test import AsyncClient
from django.urls import reverse
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client

from bench.results import Row, at_most, measured
from dashboard.live import cached_read

MEMOS, PACKED = 8, 60_000  # bytes of each memo as it is sent
RUNS = 40
WARM, QUERIES = 100, 300
ENTRIES = 100_000
MEGABYTE = 1024 * 1024


def _resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MEGABYTE


def _bomb() -> Payload:
    """PACKED bytes that unpack to about 60 MB."""
    whole = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"x" * (PACKED * 1000) + b'"')
    return Payload(metadata={"encoding": b"binary/zlib"}, data=zlib.compress(whole.SerializeToString(), 9))


async def _start(client: Client, bomb: Payload) -> tuple[str, str]:
    """A run as a client starts it that does not use our codec."""
    request = StartWorkflowExecutionRequest(
        namespace=client.namespace, workflow_id=f"memos-{uuid.uuid4()}", request_id=uuid.uuid4().hex
    )
    request.workflow_type.name, request.task_queue.name = "Foreign", "nowhere"
    for number in range(MEMOS):
        request.memo.fields[f"memo{number}"].CopyFrom(bomb)
    started = await client.workflow_service.start_workflow_execution(request)
    return request.workflow_id, started.run_id


async def measure(client: Client, user: User) -> list[Row]:
    """The run page and the lists, in this process."""
    bomb = _bomb()
    runs = [await _start(client, bomb) for _ in range(RUNS)]
    http = AsyncClient()
    await http.aforce_login(user)
    await http.get("/ns/default/workers/")  # what every page needs is there
    before, times = _resident(), list[float]()
    for run in runs[:10]:
        cached_read.forget()
        began = time.perf_counter()
        response = await http.get(reverse("run", args=["default", *run]))
        times.append(time.perf_counter() - began)
        assert response.status_code == 200, response.status_code
        assert response.content.count(b"too large to show") == MEMOS
    rows = [
        at_most("run page, eight memos of 60 kB that unpack to megabytes", max(times) * 1000, "ms", 300),
        at_most("memory that ten such pages took", _resident() - before, "MB", 20),
    ]
    for number in range(QUERIES):
        if number == WARM:
            before = _resident()
        response = await http.get("/ns/default/workflows/", {"q": f"WorkflowId != 'n{number}'"})
        assert response.status_code == 200, response.status_code
    return [*rows, at_most(f"memory that {QUERIES - WARM} more lists took", _resident() - before, "MB", 20)]


def verify() -> list[Row]:
    """The chain of ENTRIES entries, which are written at once here."""
    from dashboard.audit import log
    from dashboard.models import AuditEntry

    previous = AuditEntry.objects.order_by("-id").values_list("hash", flat=True).first() or log.GENESIS
    entries = []
    for number in range(ENTRIES):
        entry = AuditEntry(
            at=datetime.now(UTC),
            actor="bench",
            action="approve",
            workflow_id=f"order-{number}",
            reason="as agreed",
            phase=AuditEntry.Phase.INTENT,
            previous_hash=previous,
        )
        entry.hash = previous = log.signature(entry)
        entries.append(entry)
    with transaction.atomic():
        AuditEntry.objects.bulk_create(entries, batch_size=1000)
    began = time.perf_counter()
    count, _, broken = log.verify()
    took = time.perf_counter() - began
    assert broken is None, broken
    return [
        at_most("audit entries verified", took, "s", 5),
        measured("how many these are", count, "entries"),
    ]
