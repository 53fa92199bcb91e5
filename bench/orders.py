"""One order beside the bare SDK workflow with the same activities, in turn, on a server in memory."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median

import uvicorn
from temporalio.client import Client
from temporalio.worker import Worker

from bench.bare import BARE, BareOrder
from bench.results import Row, at_most, measured
from bench.settings import point
from orders.activities import ALL
from orders.conf import conf
from orders.messages import OrderInput, OrderLine
from orders.sandbox.app import create
from orders.sandbox.ledger import Ledger
from orders.workflows.order import OrderWorkflow
from workers.client.launch import launch
from workers.patterns.breaker.plugin import breakers
from workers.process.plugins import worker_plugins
from workers.registry.registry import registry

_THREADS = 16


@contextmanager
def sandbox(folder: Path) -> Iterator[None]:
    """The outside world in a thread, on a free port that the settings then name."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create(Ledger(folder / "ledger.sqlite3")), log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        point(orders=conf().model_copy(update={"sandbox_url": url}))
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(10)


def new_order() -> OrderInput:
    number = uuid.uuid4().hex[:12]
    lines = [OrderLine(sku="KETTLE", quantity=2, unit_minor=1500)]
    return OrderInput(
        order_id=number, customer_id="customer-01", customer_name="Bench", lines=lines, total_minor=3000
    )


async def _ours(client: Client) -> float:
    order, began = new_order(), time.perf_counter()
    handle = await launch(OrderWorkflow, order, client=client)
    result = await handle.result()
    assert result["stage"] == "delivered", result
    return time.perf_counter() - began


async def _bare(client: Client) -> float:
    order, began = new_order(), time.perf_counter()
    await client.execute_workflow(BareOrder.run, order, id=f"bare-{order.order_id}", task_queue=BARE)
    return time.perf_counter() - began


async def measure(client: Client, folder: Path, rounds: int) -> list[Row]:
    """The medians of both and their ratio."""
    async with AsyncExitStack() as stack:
        stack.enter_context(sandbox(folder))
        threads = stack.enter_context(ThreadPoolExecutor(_THREADS))
        ways = [(q.name, q.workflows, q.activities, worker_plugins()) for q in registry.queues.values()]
        for queue, workflows, activities, plugins in [*ways, (BARE, (BareOrder,), ALL, [])]:
            worker = Worker(
                client,
                task_queue=queue,
                workflows=workflows,
                activities=activities,
                activity_executor=threads,
                max_concurrent_activities=_THREADS,
                plugins=plugins,
            )
            await stack.enter_async_context(worker)
        await breakers.prepare(client)
        ours, bare = list[float](), list[float]()
        for number in range(rounds + 3):  # the first three fill the caches
            pair = (await _ours(client), await _bare(client))
            if number >= 3:
                ours.append(pair[0])
                bare.append(pair[1])
    return [
        measured("one order", median(ours) * 1000, "ms"),
        measured("one bare workflow with the same activities", median(bare) * 1000, "ms"),
        at_most("an order over a bare workflow", median(ours) / median(bare), "x", 1.5),
    ]
