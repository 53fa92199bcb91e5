"""The saga pattern in workflows of its own: order of undo, keys, and what no cancellation may stop."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.contracts import SagaState, SagaStatus, StepState
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.saga.saga import SAGA_UNWINDING, Options, Saga, run_shielded


def nothing() -> None:
    """Nobody looks at the state."""


@workflow.defn(name="Errand")
class Errand:
    """Three steps; the last fails; what may have happened is undone. The first run hands over to a second."""

    @workflow.init
    def __init__(self, run: int) -> None:
        self.saga = Saga(
            undo_input=lambda key, undo_key, reason, edited: [key, undo_key, reason],
            holds=GuardedCalls(1, nothing),
            changed=nothing,
            options=Options(undo_attempts=1),
        )

    @workflow.run
    async def run(self, run: int) -> SagaStatus:
        if run == 1:
            workflow.continue_as_new(2)
        try:
            await self.saga.step("fetch", str, str, undo="put_back")
            await self.saga.step("fetch", str, str, undo="put_back")
            await self.saga.step("tell", str, str)
            await asyncio.gather(
                self.saga.step("drop", str, str, undo="put_back", attempts=1),
                self.saga.step("refuse", str, str, undo="put_back"),
            )
        except ActivityError:
            await workflow.wait_condition(lambda: all(s.error for s in self.saga.status().steps[3:]))
            await run_shielded(self.saga.compensate("It failed."))
        return self.saga.status()


@workflow.defn(name="Straggler")
class Straggler:
    """Goes back, and then tries another step: the type of what is raised."""

    @workflow.run
    async def run(self) -> str:
        saga = Saga(
            undo_input=lambda key, undo_key, reason, edited: [key],
            holds=GuardedCalls(1, nothing),
            changed=nothing,
        )
        await saga.step("fetch", str, str, undo="put_back")
        await saga.compensate("Enough.")
        try:
            await saga.step("tell", str, str)
        except ApplicationError as error:
            return str(error.type)
        return "told"


@workflow.defn(name="Stubborn")
class Stubborn:
    """Is cancelled three times while it works, and yet finishes."""

    @workflow.run
    async def run(self) -> str:
        task = asyncio.create_task(run_shielded(self._work()))
        for _ in range(3):
            await asyncio.sleep(0.05)
            task.cancel()
        return await task

    async def _work(self) -> str:
        await asyncio.sleep(0.3)
        return str(
            await workflow.execute_activity("fetch", "key", start_to_close_timeout=timedelta(seconds=5))
        )


class Outside:
    def __init__(self) -> None:
        self.undone: list[list[str]] = []

    @activity.defn(name="fetch")
    async def fetch(self, key: str) -> str:
        return key

    @activity.defn(name="tell")
    async def tell(self, key: str) -> str:
        return key

    @activity.defn(name="drop")
    async def drop(self, key: str) -> str:
        raise ApplicationError("Dropped, perhaps.")

    @activity.defn(name="refuse")
    async def refuse(self, key: str) -> str:
        raise ApplicationError("No.", type="Refused", non_retryable=True)

    @activity.defn(name="put_back")
    async def put_back(self, given: list[str]) -> str:
        self.undone.append(given)
        return given[0]

    def activities(self) -> list[Any]:
        return [self.fetch, self.tell, self.drop, self.refuse, self.put_back]


async def test_undoes_last_first_what_may_have_happened(client: Client, queue: str, worker: Any) -> None:
    outside = Outside()
    async with worker(queue, workflows=[Errand], activities=outside.activities()):
        handle = await client.start_workflow(
            "Errand", 1, id=uuid.uuid4().hex, task_queue=queue, result_type=SagaStatus
        )
        status = await handle.result()
    first = handle.result_run_id
    keys = [f"{first}/{name}" for name in ("drop/1", "fetch/2", "fetch/1")]
    assert outside.undone == [[key, f"{key}/undo/1", "It failed."] for key in keys]
    assert status.state == SagaState.COMPENSATED
    assert [step.status for step in status.steps[3:]] == [StepState.UNKNOWN, StepState.FAILED]
    assert [step.activity_id for step in status.steps[:2]] == ["fetch", "fetch/2"]


async def test_no_cancellation_stops_the_way_back(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[Stubborn], activities=Outside().activities()):
        result = await client.execute_workflow("Stubborn", id=uuid.uuid4().hex, task_queue=queue)
    assert result == "key"


async def test_no_step_begins_once_the_way_back_has(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[Straggler], activities=Outside().activities()):
        result = await client.execute_workflow("Straggler", id=uuid.uuid4().hex, task_queue=queue)
    assert result == SAGA_UNWINDING
