"""A worker process is frozen with 20 calls in flight, longer than their attempts may take, and then goes on.

As by a suspended laptop, a paused virtual machine or swapping. The attempts in flight have timed out at the
server when the process continues, so their cancellation meets threads in the middle of whatever they do.

    FREEZE_ROUNDS=20 FREEZE_MOST=90 .venv/bin/python -m pytest tests/workers/process/test_freeze.py -m slow -s
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from orders.messages import QUEUE, WORKFLOW_TYPE, OrderInput, OrderRules, Stage
from tests.orders.conftest import Sandbox, sandbox, sandbox_server
from tests.orders.samples import new_order
from tests.support import eventually
from tests.workers.process.test_runworker import ROOT, free_port
from workers.client.launch import launch

__all__ = ["sandbox", "sandbox_server"]  # fixtures

ROUNDS = int(os.environ.get("FREEZE_ROUNDS", "1"))
LEAST, MOST = 12.0, float(os.environ.get("FREEZE_MOST", "15"))  # seconds; an attempt may take 10
CALLS = 20
GOES_ON_SECONDS = 10.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + ROUNDS * (MOST + 60))]

Handle = WorkflowHandle[Any, Any]


class Frozen:
    """A real worker for orders: its process, and what its health port says."""

    def __init__(self, process: asyncio.subprocess.Process, health: httpx.AsyncClient) -> None:
        self.process, self._health = process, health

    async def ready(self) -> bool:
        try:
            return (await self._health.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def in_flight(self) -> int:
        found = (await self._health.get("/status")).json()["queues"]
        return sum(int(item["activities"]) for item in found if item["queue"] == QUEUE)


@pytest.fixture
async def frozen(client: Client, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Frozen]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "manage.py"), "runworker", "--health-port", str(port)),
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "SANDBOX_URL": sandbox.url,
            "SIGNALBOX_STATE_DIR": str(tmp_path / "state"),
            "GATEWAY_TIMEOUT": "8",  # an answer that takes 5 s is late and in time, also on a busy machine
        },
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as health:
        made = Frozen(process, health)
        try:
            await eventually(made.ready, timeout=60)
            yield made
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def place(client: Client) -> Handle:
    order = OrderInput(**new_order().model_dump(), requester="vera", rules=OrderRules(step_seconds=10))
    return await launch(WORKFLOW_TYPE, order, client=client)


async def charged(handle: Handle) -> bool:
    """Has the order gone beyond the call that was in flight?"""
    names, done = {}, set()
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        elif event.HasField("activity_task_completed_event_attributes"):
            done.add(names[event.activity_task_completed_event_attributes.scheduled_event_id])
    return "charge_payment" in done


async def test_a_frozen_worker_goes_on_with_all_its_orders(
    client: Client,
    sandbox: Sandbox,
    frozen: Frozen,
):
    for number in range(1, ROUNDS + 1):
        sandbox.fault("payments", "latency", latency_ms=5000)
        handles = await asyncio.gather(*(place(client) for _ in range(CALLS)))
        in_flight = await eventually(lambda: _at_least(frozen, CALLS), timeout=20, every=0.02)
        seconds = random.uniform(LEAST, MOST)
        frozen.process.send_signal(signal.SIGSTOP)
        sandbox.fault("payments")  # what is tried again is answered at once
        await asyncio.sleep(seconds)
        frozen.process.send_signal(signal.SIGCONT)
        continued = time.monotonic()
        for handle in handles:
            await eventually(partial(charged, handle), timeout=GOES_ON_SECONDS, every=0.2)
        went_on = time.monotonic() - continued
        await eventually(frozen.ready, timeout=GOES_ON_SECONDS)
        results = await asyncio.wait_for(asyncio.gather(*(handle.result() for handle in handles)), 60)
        print(f"round {number}: {in_flight} calls frozen {seconds:.1f} s, all went on after {went_on:.1f} s")
        assert went_on < GOES_ON_SECONDS
        assert {result["stage"] for result in results} == {Stage.DELIVERED}
    frozen.process.terminate()
    assert await asyncio.wait_for(frozen.process.wait(), 30) == 0


async def _at_least(frozen: Frozen, calls: int) -> int:
    found = await frozen.in_flight()
    return found if found >= calls else 0
