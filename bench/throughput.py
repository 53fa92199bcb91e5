"""Orders per second with all that surrounds ours, over a bare worker of the SDK with the same activities."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import httpx
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from bench.bare import BARE, HOUSED, SEALED, BareOrder, HousedOrder, SealedOrder
from bench.orders import new_order, sandbox
from bench.results import Row, at_least, at_most, measured
from bench.settings import point
from orders.activities import ALL
from workers.client.connection import connect
from workers.client.launch import launch
from workers.conf import WorkersConf, conf
from workers.patterns.breaker.plugin import breakers
from workers.process import metrics
from workers.process.build_worker import build
from workers.process.plugins import worker_plugins
from workers.registry.registry import registry

_THREADS = 16
_AT_ONCE = 20
_START_SECONDS = 60.0
_ROOT = Path(__file__).resolve().parent.parent

Order = Callable[[], Awaitable[None]]


@asynccontextmanager
async def _bare(address: str) -> AsyncIterator[Order]:
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    with ThreadPoolExecutor(_THREADS) as threads:
        async with Worker(
            client,
            task_queue=BARE,
            workflows=[BareOrder],
            activities=ALL,
            activity_executor=threads,
            max_concurrent_activities=_THREADS,
        ):

            async def one() -> None:
                name = f"bare-{uuid.uuid4().hex}"
                await client.execute_workflow(BareOrder.run, new_order(), id=name, task_queue=BARE)

            yield one


@asynccontextmanager
async def _ours(settings: WorkersConf, name: str, workflow: type) -> AsyncIterator[Order]:
    """A worker as runworker makes it, and its launches."""
    runtime = metrics.runtime("127.0.0.1", settings.metrics_port)
    client = await connect(settings, for_worker=True, runtime=runtime)
    registry.add(name, workflows=[workflow], activities=ALL)
    queues, plugins = [registry.queues[name]], worker_plugins()
    if settings.lifecycle_audit:  # one of them is enough
        queues.append(registry.queues["breaker-queue"])
    async with AsyncExitStack() as stack:
        for queue in queues:
            worker = build(client, queue, settings, plugins, f"bench/{queue.name}")
            await stack.enter_async_context(worker)
        await breakers.prepare(client)

        async def one() -> None:
            handle = await launch(workflow, new_order(), id=f"order-{uuid.uuid4().hex}", client=client)
            await handle.result()

        yield one


async def _per_second(one: Order, count: int) -> float:
    left = iter(range(count))

    async def take() -> None:
        for _ in left:
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(take() for _ in range(_AT_ONCE)))
    return count / (time.perf_counter() - began)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _settings() -> tuple[WorkersConf, WorkersConf]:
    """Everything that there is, with limits that never bind; and with encryption and audit too. The first
    can read what the second writes, as they share the breakers."""
    key = f"bench:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    plain = conf().model_copy(
        update={
            "activity_threads": _THREADS,
            "rate_limits": {"charge_payment": 100_000.0},
            "metrics_port": _free_port(),
            "payload_keys": SecretStr(f"-{key}"),
        }
    )
    more = {"payload_keys": SecretStr(key), "lifecycle_audit": True, "metrics_port": _free_port()}
    return plain, plain.model_copy(update=more)


async def measure(folder: Path, rounds: int, count: int) -> list[Row]:
    """The three ways in turn, `rounds` times `count` orders each, and the ratios of their medians."""
    plain, sealed = _settings()
    async with AsyncExitStack() as stack:
        stack.enter_context(sandbox(folder))
        point(workers=plain)
        bare = await stack.enter_async_context(_bare(plain.address))
        housed = await stack.enter_async_context(_ours(plain, HOUSED, HousedOrder))
        point(workers=sealed)
        safe = await stack.enter_async_context(_ours(sealed, SEALED, SealedOrder))
        ways = [(plain, bare), (plain, housed), (sealed, safe)]
        rates: list[list[float]] = [[] for _ in ways]
        for number in range(rounds + 1):  # the first fills the caches
            for (settings, one), found in zip(ways, rates, strict=True):
                point(workers=settings)
                rate = await _per_second(one, count)
                if number:
                    found.append(rate)
    middle = [median(found) for found in rates]
    return [
        measured("orders by a bare worker", middle[0], "/s"),
        at_least("with all interceptors and typed payloads, over that", middle[1] / middle[0], "x", 0.95),
        at_least("with encryption and audited completion too", middle[2] / middle[0], "x", 0.9),
    ]


async def ready(rounds: int) -> list[Row]:
    """From the start of `manage.py runworker` to its readiness, with everything registered."""
    return [at_most("runworker ready", median([await _ready(_free_port()) for _ in range(rounds)]), "s", 2)]


async def _ready(port: int) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "runworker", "--health-port", str(port)),
        cwd=_ROOT,
        env={**os.environ, "TEMPORAL_ADDRESS": conf().address},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(_START_SECONDS):
            while not await _answers(http, f"http://127.0.0.1:{port}/readyz"):  # noqa: ASYNC110 (it has no event to wait for)
                await asyncio.sleep(0.05)
        return time.perf_counter() - began
    finally:
        process.terminate()
        await process.wait()


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False
