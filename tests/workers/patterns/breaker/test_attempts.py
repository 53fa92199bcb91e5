"""The interceptor of a breaker knows whether an attempt came before this one, also after a reset."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from tests.support import eventually

with workflow.unsafe.imports_passed_through():
    from workers.patterns.breaker.gate import Gate
    from workers.patterns.breaker.names import guarded


class Service:
    """It fails once."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    def activity(self) -> Any:
        @activity.defn(name="fail_once")
        @guarded("resets")
        async def fail_once() -> None:
            self.attempts.append(activity.info().attempt)
            if len(self.attempts) < 2:
                raise ApplicationError("Away.")

        return fail_once


@workflow.defn(name="Reset")
class Reset:
    """One activity whose next attempt is an hour away."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "fail_once",
            activity_id="a",
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(hours=1)),
        )


async def test_after_a_reset_the_first_attempt_is_not_the_first(
    client: Client, queue: str, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_sent: list[bool] = []

    async def admit(self: Gate, lease: str, never: bool, **_: Any) -> tuple[int, str]:
        never_sent.append(never)
        return 0, ""

    monkeypatch.setattr(Gate, "admit", admit)
    monkeypatch.setattr(Gate, "record", lambda self, *args, **more: None)
    service = Service()
    async with worker(queue, workflows=[Reset], activities=[service.activity()]):
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
    assert service.attempts == [1, 1]
    assert never_sent == [True, False]
