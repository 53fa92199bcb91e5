"""A breaker's refusal says whether an attempt came before it, also after an operator's reset."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from tests.support import eventually

with workflow.unsafe.imports_passed_through():
    from workers.patterns.breaker.interceptor import never_sent

SEEN: list[tuple[int, bool]] = []


@activity.defn(name="fail_twice")
async def fail_twice() -> None:
    info = activity.info()
    SEEN.append((info.attempt, never_sent(info)))
    if len(SEEN) < 2:
        raise ApplicationError("Away.")


@workflow.defn(name="Reset")
class Reset:
    """One activity whose next attempt is an hour away."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "fail_twice",
            activity_id="a",
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(hours=1)),
        )


async def test_after_a_reset_the_first_attempt_is_not_the_first(
    client: Client, queue: str, worker: Any
) -> None:
    async with worker(queue, workflows=[Reset], activities=[fail_twice]):
        handle = await client.start_workflow("Reset", id=uuid.uuid4().hex, task_queue=queue)

        async def waits_an_hour() -> bool:
            pending = (await handle.describe()).raw_description.pending_activities
            return bool(pending) and pending[0].attempt == 2

        await eventually(waits_an_hour)
        execution = WorkflowExecution(workflow_id=handle.id)
        await client.workflow_service.reset_activity(
            ResetActivityRequest(namespace=client.namespace, execution=execution, id="a")
        )
        await handle.result()
    assert SEEN == [(1, True), (1, False)]
