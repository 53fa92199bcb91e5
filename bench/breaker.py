"""What the shared breaker costs: a call's admission, and the history of the breaker under many processes."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Worker

from bench.results import Row, at_most
from workers.patterns.breaker.activities import find_held, offer_probe, release_held
from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.gate import Gate
from workers.patterns.breaker.interceptor import BreakerInterceptor
from workers.patterns.breaker.names import QUEUE, WORKFLOW_TYPE, breaker_id, guarded
from workers.patterns.breaker.workflow import BreakerWorkflow
from workers.process.sandbox import workflow_runner

CALLS = 5_000
ROUNDS = 7  # of which the best counts: whatever else runs on the machine only adds
PROCESSES = 10
CHILDREN = 2  # operating-system processes: ten of them would measure how Python starts
CALLS_A_SECOND = 1_000
FAILING = 50  # one of so many calls fails, as failures are what is reported
WARM_SECONDS = 5.0
SECONDS = 15.0


class _Nothing(ActivityInboundInterceptor):
    """Where the activity would run."""

    def __init__(self) -> None:
        """It has no next."""

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        return None


async def _microseconds(interceptor: ActivityInboundInterceptor, fn: Any) -> float:
    call = ExecuteActivityInput(fn=fn, args=[], executor=None, headers={})
    began = time.perf_counter()
    for _ in range(CALLS):
        await interceptor.execute_activity(call)
    return (time.perf_counter() - began) / CALLS * 1e6


async def admission(client: Client, dependency: str) -> float:
    """Microseconds that the interceptor and its gate add to a call, asking the breaker once a second."""

    @guarded(dependency)
    def behind() -> None: ...

    breakers = BreakerInterceptor({}.get)
    breakers.client = client

    async def measured() -> float:
        bare, ours = _Nothing(), breakers.intercept_activity(_Nothing())
        pairs = [
            (await _microseconds(ours, behind), await _microseconds(bare, behind)) for _ in range(ROUNDS)
        ]
        return min(pair[0] for pair in pairs) - min(pair[1] for pair in pairs)

    return float(await ActivityEnvironment(client=client).run(measured))


async def calls(address: str, namespace: str, dependency: str, gates: int) -> None:
    """What `gates` worker processes would do to a breaker until they are ended: each has its own client."""

    async def one(number: int) -> None:
        client = await Client.connect(address, namespace=namespace, data_converter=pydantic_data_converter)
        gate, made = Gate(client, dependency), 0
        began = time.monotonic() + number / 100
        while True:
            due = int((time.monotonic() - began) * CALLS_A_SECOND / PROCESSES)
            while made < due:
                made += 1
                epoch, _probing = await gate.admit("", True)
                gate.record(epoch, failed=made % FAILING == 0, error="away")
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one(number) for number in range(gates)))


async def events_a_second(client: Client, dependency: str) -> float:
    """How fast the breaker's history grows while ten processes make a thousand calls a second."""
    address = client.service_client.config.target_host
    arguments = [address, client.namespace, dependency, str(PROCESSES // CHILDREN)]
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.breaker", *arguments, cwd=Path(__file__).parent.parent
        )
        for _ in range(CHILDREN)
    ]
    handle = client.get_workflow_handle(breaker_id(dependency))
    try:
        while (await handle.query("get_circuit_status"))["processes"] < PROCESSES:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        await asyncio.sleep(WARM_SECONDS)
        before, began = (await handle.describe()).history_length, time.monotonic()
        await asyncio.sleep(SECONDS)
        after = await handle.describe()
        return (after.history_length - before) / (time.monotonic() - began)
    finally:
        for child in children:
            child.kill()
            await child.wait()


async def measure(client: Client) -> list[Row]:
    """Both rows, with one breaker on its own queue."""
    dependency = f"bench-{uuid.uuid4().hex[:8]}"
    reaches, runner = [find_held, offer_probe, release_held], workflow_runner()
    async with Worker(
        client, task_queue=QUEUE, workflows=[BreakerWorkflow], activities=reaches, workflow_runner=runner
    ):
        await client.start_workflow(
            WORKFLOW_TYPE,
            BreakerConfig(dependency=dependency),
            id=breaker_id(dependency),
            task_queue=QUEUE,
        )
        cost = await admission(client, dependency)
        events = await events_a_second(client, dependency)
    name = "history events a second per breaker at 1,000 guarded calls a second from 10 processes"
    return [at_most("breaker admission", cost, "µs a call", 20), at_most(name, events, "events/s", 5)]


if __name__ == "__main__":
    asyncio.run(calls(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
