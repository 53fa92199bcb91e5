"""A workflow that asks the dynamic queue for an activity."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.registry.queues import DYNAMIC


@workflow.defn
class MisdirectedWorkflow:
    @workflow.run
    async def run(self, name: str) -> None:
        await workflow.execute_activity(
            name, task_queue=DYNAMIC, start_to_close_timeout=timedelta(seconds=30)
        )
