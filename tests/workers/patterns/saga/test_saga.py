"""The saga pattern in workflows of its own: order of undo, keys, and what no cancellation may stop."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from tests.support import eventually

with workflow.unsafe.imports_passed_through():
    from tests.workers.patterns.saga.fake_services import BUGS
    from workers.contracts import SagaState, SagaStatus, StepState
    from workers.contracts.effects import effect_refused
    from workers.patterns.saga.handlers import SagaHandlers
    from workers.patterns.saga.steps import SAGA_COMPENSATING, ActivityOptions
    from workers.shielding import run_shielded

ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(name="Errand")
class Errand(SagaHandlers):
    """Three steps; the last fails; what may have happened is undone. The first run hands over to a second."""

    @workflow.init
    def __init__(self, run: int) -> None:
        super().__init__(
            undo_input=lambda key, undo_key, reason, edited: [key, undo_key, reason],
            undo=ActivityOptions(retry_policy=RetryPolicy(maximum_attempts=1)),
        )

    @workflow.run
    async def run(self, run: int) -> SagaStatus:
        if run == 1:
            workflow.continue_as_new(2)
        try:
            await self.saga.step("fetch", str, undo="put_back")
            await self.saga.step("fetch", str, undo="put_back")
            await self.saga.step("tell", str)
            await asyncio.gather(
                self.saga.step("drop", str, undo="put_back", retry_policy=ONCE),
                self.saga.step("refuse", str, undo="put_back"),
            )
        except ActivityError:
            await workflow.wait_condition(lambda: all(s.error for s in self.saga.status().steps[3:]))
            await self.saga.compensate("It failed.")
        return self.saga.status()


@workflow.defn(name="Straggler")
class Straggler(SagaHandlers):
    """Compensates, and then tries another step: the type of what is raised."""

    def __init__(self) -> None:
        super().__init__(undo_input=lambda key, undo_key, reason, edited: [key])

    @workflow.run
    async def run(self) -> str:
        await self.saga.step("fetch", str, undo="put_back")
        await self.saga.compensate("Enough.")
        try:
            await self.saga.step("tell", str)
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


@workflow.defn(name="Repaired")
class Repaired(SagaHandlers):
    """Its code has bugs, in the argument of its undo or before its first step, until they are repaired."""

    def __init__(self) -> None:
        super().__init__(undo_input=self._undo_input)

    def _undo_input(self, key: str, undo_key: str, reason: str, edited: dict[str, Any] | None) -> list[str]:
        _bug("undo")
        return [key, undo_key, reason]

    @workflow.run
    async def run(self) -> SagaStatus:
        _bug("start")
        try:
            await self.saga.run(self._steps())
        except FailureError as error:
            await self.saga.compensate(self.reason_of(error))
        return self.saga.status()

    async def _steps(self) -> None:
        await self.saga.step("fetch", str, undo="put_back")
        _bug("middle")
        await self.saga.step("refuse", str, undo="put_back")


def _bug(name: str) -> None:
    if name in BUGS:
        raise KeyError(name)


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
        raise effect_refused("No.")

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


async def test_no_cancellation_stops_shielded_work(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[Stubborn], activities=Outside().activities()):
        result = await client.execute_workflow("Stubborn", id=uuid.uuid4().hex, task_queue=queue)
    assert result == "key"


async def test_no_step_begins_once_compensation_has(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[Straggler], activities=Outside().activities()):
        result = await client.execute_workflow("Straggler", id=uuid.uuid4().hex, task_queue=queue)
    assert result == SAGA_COMPENSATING


@pytest.fixture
def bugs() -> Iterator[set[str]]:
    yield BUGS
    BUGS.clear()


@pytest.mark.parametrize("bug", ["undo", "middle"])
async def test_a_bug_after_the_first_step_leaves_the_run_open_until_it_is_repaired(
    client: Client, queue: str, worker: Any, bugs: set[str], bug: str
) -> None:
    outside = Outside()
    bugs.add(bug)
    async with worker(queue, workflows=[Repaired], activities=outside.activities()):
        handle = await client.start_workflow(
            "Repaired", id=uuid.uuid4().hex, task_queue=queue, result_type=SagaStatus
        )

        async def failed_task() -> bool:
            events = (await handle.fetch_history()).events
            return any(event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED for event in events)

        await eventually(failed_task)
        bugs.clear()
        status = await handle.result()
    assert status.state == SagaState.COMPENSATED
    assert outside.undone == [[f"{handle.first_execution_run_id}/fetch/1", *outside.undone[0][1:]]]


async def test_a_bug_before_the_first_step_fails_the_run(
    client: Client, queue: str, worker: Any, bugs: set[str]
) -> None:
    bugs.add("start")
    async with worker(queue, workflows=[Repaired], activities=Outside().activities()):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow("Repaired", id=uuid.uuid4().hex, task_queue=queue)
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "KeyError"
