"""What one page may unpack and keep: payloads that grow, histories of megabytes, answers without end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
import tracemalloc
import uuid
import zlib
from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import reverse
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from dashboard.bounded import Bounded, size_of
from dashboard.live import cached_read
from dashboard.temporal_api import budget as budgets
from dashboard.temporal_api.answers import query
from dashboard.temporal_api.budget import Budget
from dashboard.temporal_api.history import read_history
from dashboard.temporal_api.rows import TooLarge, decode, texts
from tests.dashboard.factories import CannedAnswers, start_run
from tests.support import HTMX, eventually
from workers.client.connection import has_pollers
from workers.client.errors import QueryFailed
from workers.payloads.claims import DjangoStorageDriver
from workers.payloads.codecs import ZLIB
from workers.payloads.errors import PayloadOversized
from workers.payloads.limits import at_most

pytestmark = pytest.mark.django_db(transaction=True)
MEGABYTE = 1024 * 1024


def packed(size: int) -> Payload:
    """A payload of this many bytes of JSON, compressed to next to nothing."""
    whole = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps("x" * (size - 2)).encode())
    return Payload(metadata={"encoding": ZLIB}, data=zlib.compress(whole.SerializeToString()))


def plain(size: int) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps("x" * (size - 2)).encode())


@pytest.mark.parametrize("make", [packed, plain])
async def test_a_payload_over_the_limit_is_too_large_to_show(client: Client, make: Any) -> None:
    value, small = await decode(client, [make(budgets.ITEM_BYTES + 200), make(100)])
    assert isinstance(value, TooLarge)
    assert re.fullmatch(r"too large to show here: at least 262,\d{3} bytes", str(value))
    assert small == "x" * 98


async def test_a_page_has_one_budget_for_all_of_them(client: Client) -> None:
    budget = Budget()
    values = await decode(client, [packed(200_000)] * 30, budget)
    shown = [value for value in values if not isinstance(value, TooLarge)]
    assert len(shown) == budgets.PAGE_BYTES // 200_000
    assert budget.left < 200_000


async def test_what_is_too_large_is_never_unpacked(client: Client) -> None:
    bomb = packed(60 * MEGABYTE)
    tracemalloc.start()
    try:
        await decode(client, [bomb] * 8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * MEGABYTE


async def test_many_values_are_cut_too(client: Client) -> None:
    found = await texts(client, [plain(10)] * 5000, Budget())
    assert len(found) == 51
    assert found[-1] == "… and 4,950 more"


async def test_a_stored_payload_is_not_fetched_when_it_is_too_large(client: Client, tmp_path) -> None:
    driver: Any = DjangoStorageDriver()
    [claim] = await driver.store(None, [plain(MEGABYTE)])
    with at_most(1000), pytest.raises(PayloadOversized):
        await driver.retrieve(None, [claim])
    assert await driver.retrieve(None, [claim]) == [plain(MEGABYTE)]


async def test_an_answer_that_is_too_large_is_said_to_be(client: Client, queue: str, worker) -> None:
    large = {"approval": "x" * budgets.ANSWER_BYTES, "saga": "x" * 1000}
    async with worker(queue, workflows=[CannedAnswers]):
        handle = await start_run(client, queue, f"big-{uuid.uuid4()}", answers=large)
        await eventually(lambda: has_pollers(client, queue))
        with pytest.raises(QueryFailed, match="too large to show: more than 1,048,576 bytes"):
            await query(client, handle, "get_approval_status", queue=queue, seconds=10)
        assert await query(client, handle, "get_saga_status", queue=queue, seconds=10) == "x" * 1000
        await handle.terminate()


async def test_a_long_history_is_read_by_bytes(client: Client, queue: str) -> None:
    handle = await client.start_workflow("Foreign", 1, id=f"long-{uuid.uuid4()}", task_queue=queue)
    for _ in range(16):
        await handle.signal("letter", "x" * MEGABYTE)
    size = 16 * MEGABYTE
    tracemalloc.start()
    try:
        history = await read_history(client, handle.id, handle.first_execution_run_id or "", size=size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await handle.terminate()
    assert history.unread
    assert 4 <= len(history.lines) <= 12
    assert peak < 20 * MEGABYTE


async def test_a_run_with_memos_that_unpack_to_megabytes(client: Client, queue: str, viewer_user) -> None:
    """Sent as they are, past our own codec, as any client may that writes to the namespace."""
    from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

    request = StartWorkflowExecutionRequest(
        namespace=client.namespace, workflow_id=f"memos-{uuid.uuid4()}", request_id=uuid.uuid4().hex
    )
    request.workflow_type.name = "Foreign"
    request.task_queue.name = queue
    for number in range(8):
        request.memo.fields[f"memo{number}"].CopyFrom(packed(50 * MEGABYTE))
    started = await client.workflow_service.start_workflow_execution(request)
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    address = reverse("run", args=["default", request.workflow_id, started.run_id])
    await browser.get(address)  # the first request also compiles templates
    cached_read.forget()
    began = time.perf_counter()
    text = (await browser.get(address, headers=HTMX)).content.decode()
    assert time.perf_counter() - began < 2  # 6.8 s before there were limits; 0.1 on an idle machine
    assert text.count("too large to show here: at least 262,144 bytes") == 8
    listed = f"/ns/default/workflows/?id={request.workflow_id}"

    async def shown() -> bool:
        return request.workflow_id in (await browser.get(listed)).content.decode()

    await eventually(shown)
    await client.get_workflow_handle(request.workflow_id).terminate()


def test_a_cache_lets_go_by_bytes_by_age_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Bounded[int, str] = Bounded(largest=1000, seconds=10, entries=4, weigh=len)
    for number in range(6):
        kept.put(number, "x" * 100)
    assert [*kept] == [2, 3, 4, 5]
    assert kept.get(2) == "x" * 100  # used now, so it goes last
    kept.put(6, "x" * 800)
    assert ([*kept], kept.size) == ([5, 2, 6], 1000)
    kept.put(7, "x" * 1001)
    assert kept.get(7) is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    assert kept.get(6) is None
    assert kept.size == 200


def test_a_weight_is_near_what_is_held() -> None:
    rows = [{"id": f"order-{at}", "memo": "x" * 1000, "more": [1, 2, 3]} for at in range(500)]
    tracemalloc.start()
    held = [{**row, "memo": row["memo"] + "y"} for row in rows]  # type: ignore[operator]
    real, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.5 * real < size_of(held) < 3 * real


async def test_snapshots_are_bounded_by_bytes(viewers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read() -> list[str]:
        return [uuid.uuid4().hex * 30_000 for _ in range(2)]  # 2 MB

    cached_read.forget()
    await asyncio.gather(
        *(cached_read.cached_read("x", viewers["viewer"], read, detail=number) for number in range(100))
    )
    assert cached_read._slots.size <= cached_read.KEPT_BYTES
    assert 10 < len(cached_read._slots) < 40
    cached_read.forget()


LISTS_AND_READS = """
import asyncio, sys
import django
django.setup()
from dashboard.access import Scope
from dashboard.query.query import with_scope
from dashboard.temporal_api.history import read_history
from dashboard.temporal_api.lists import list_rows
from workers.client.connection import connect

async def main(prefix, long):
    client = await connect()
    query = with_scope(Scope(client.namespace), f"WorkflowId STARTS_WITH '{prefix}'")
    rows, complete = await list_rows(client, query, 100)
    history = await read_history(client, long, "", size=0)
    print(len(rows), complete, not history.unread, len(history.lines) > 5)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_lists_and_histories_that_are_too_large_for_one_answer_are_read_in_parts(
    client: Client, queue: str
) -> None:
    """With a limit of 100 kB, which a process reads once."""
    prefix = f"parts-{uuid.uuid4()}"
    memo = {"large": "".join(uuid.uuid4().hex for _ in range(1000))}
    handles = [
        await client.start_workflow("Foreign", id=f"{prefix}-{at}", task_queue=queue, memo=memo)
        for at in range(12)
    ]
    for _ in range(9):
        await handles[0].signal("letter", memo["large"])
    await eventually(lambda: _counted(client, f"WorkflowId STARTS_WITH '{prefix}'", 12))
    environment = {**os.environ, "TEMPORAL_MAX_INCOMING_GRPC_BYTES": "100000"}
    environment |= {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = (sys.executable, "-c", LISTS_AND_READS, prefix, handles[0].id)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    for handle in handles:
        await handle.terminate()
    assert out.decode().split() == ["12", "True", "True", "True"]


async def _counted(client: Client, query: str, wanted: int) -> bool:
    return (await client.count_workflows(query)).count == wanted
