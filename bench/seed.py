"""Ten thousand open runs: of a type that no worker takes, so that they stay as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from orders import attributes
from workers.client import attributes as platform
from workers.client.tenants import PLATFORM_TENANT

TYPE, QUEUE = "OrderWorkflow", "bench-no-worker"
CUSTOMERS = 20
_AT_ONCE = 100


def customer(number: int) -> str:
    return f"customer-{number % CUSTOMERS:02d}"


async def _start(client: Client, numbers: Iterator[int]) -> None:
    for number in numbers:
        found = TypedSearchAttributes(
            [
                SearchAttributePair(platform.TENANT_ID, PLATFORM_TENANT),
                SearchAttributePair(platform.STAGE, ("reserving", "approval", "shipping")[number % 3]),
                SearchAttributePair(platform.SAGA_STATE, "running"),
                SearchAttributePair(attributes.CUSTOMER_ID, customer(number)),
                SearchAttributePair(attributes.STRATEGY, ("standard", "premium")[number % 2]),
                SearchAttributePair(attributes.ORDER_AMOUNT, number / 7),
                SearchAttributePair(attributes.PRIORITY, number % 5),
            ]
        )
        await client.start_workflow(
            TYPE,
            id=f"order-bench-{number:05d}",
            task_queue=QUEUE,
            search_attributes=found,
            memo={"customer_name": f"Customer {number}", "currency": "EUR", "item_count": number % 9},
        )


async def seed(client: Client, wanted: int, seconds: float) -> None:
    """Start `wanted` runs and wait until all are listed; TimeoutError after `seconds`."""
    numbers = iter(range(wanted))
    async with asyncio.timeout(seconds):
        await asyncio.gather(*(_start(client, numbers) for _ in range(_AT_ONCE)))
        while (await client.count_workflows("")).count < wanted:  # noqa: ASYNC110 (the server has no event for it)
            await asyncio.sleep(0.2)
