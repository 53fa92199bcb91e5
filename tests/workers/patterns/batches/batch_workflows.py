"""Batches and calls that are lost or hang, and a workflow that runs them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.patterns.batches.activities import batch_activity
    from workers.patterns.batches.batches import Batch, BatchResult, ItemResult, in_batches
    from workers.patterns.batches.parallel import gather


@activity.defn(name="broken_batch")
async def broken_batch(batch: Batch) -> BatchResult:
    if batch.first == 100:
        raise ApplicationError("This batch is lost.", non_retryable=True)
    return BatchResult(results=[ItemResult(index=batch.first + n, value=n) for n in range(len(batch.items))])


@activity.defn(name="hang")
async def hang() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


async def hanging() -> None:
    await workflow.execute_activity(
        hang,
        start_to_close_timeout=timedelta(seconds=60),
        heartbeat_timeout=timedelta(seconds=10),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


@batch_activity("secretive")
async def secretive(number: int, key: str) -> object:
    return {"password": "swordfish"} if number == 1 else number


@batch_activity("verbose")
async def verbose(number: int, key: str) -> str:
    return str(number) * 90_000


@workflow.defn(name="BatchRunner")
class BatchRunner:
    """Runs what the test asks for."""

    @workflow.run
    async def run(self, how: str) -> list[str]:
        if how == "hang":
            await gather([hanging] * 3, limit=2)
        name, count, size = {
            "batches": ("broken_batch", 250, 100),
            "rows": ("import_rows", 20, 10),
            "secrets": ("secretive", 3, 3),
            "large": ("verbose", 8, 8),
        }[how]
        result = await in_batches(name, list(range(count)), size=size, limit=2, retry_seconds=0.1)
        return [item.error or str(item.value) for item in result.results]
