"""The simulator does as a real server and worker do: recorded histories, and the same traces run for real."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.workflowservice.v1 import PauseActivityRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ActivityError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.golden import FOLDER, golden
from tests.support import eventually
from tests.workers.explore.models import PLATFORM, decision, step, undo
from tests.workers.explore.real import Outside, Restarted, SideBySide
from workers.patterns.saga.messages import StepCall
from workers.patterns.saga.plan import SagaPlan, SagaRules, SagaStep
from workers.patterns.saga.workflow import SagaWorkflow
from workers.payloads.assembly import data_converter
from workers.process.plugins import worker_interceptors
from workers.registry.queues import PLATFORM as PLATFORM_QUEUE
from workers.registry.registry import registry
from workers.testing.driver import Code, quiet
from workers.testing.explore import Scenario, variant
from workers.testing.golden import differences
from workers.testing.messages import Say
from workers.testing.world import FAULTS, Activity, Call, World

HISTORIES = sorted([*FOLDER.glob("*.json"), *FOLDER.parent.glob("*.json")])


@cache
def code(name: str) -> Code:
    registry.load()
    classes = {
        workflow._Definition.must_from_class(cls).name: cls
        for queue in registry.queues.values()
        for cls in queue.workflows
    }
    cls = classes.get(name) or classes[None]
    return Code(cls, data_converter(), worker_interceptors())


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_makes_the_commands_that_it_records(path: Path) -> None:
    content = json.loads(path.read_text())
    history = golden(path) if "workflowId" in content else _bare(content)
    started = history.events[0].workflow_execution_started_event_attributes
    with quiet():
        assert differences(code(started.workflow_type.name), history) == []


def _bare(content: dict[str, object]) -> object:
    from temporalio.client import WorkflowHistory

    return WorkflowHistory.from_json("order-1", content)


def _resolve(world: World, call: Call) -> dict[str, dict[str, str]]:
    """On the workflow's own queue."""
    return {name: {"name": name, "queue": ""} for name in call.input["names"]}


class ReservationWorld(World):
    """Steps and undos that can be steered from outside; what is resolved is answered by the worker itself."""

    activities: ClassVar = {
        **PLATFORM,
        "resolve_activities": Activity(_resolve, role="other", faults=frozenset({"error"})),
        "reserve": Activity(step, faults=FAULTS),
        "release": Activity(undo, role="undo", faults=frozenset({"error", "error-after"}), most_faults=1),
    }


STEPS = [
    SagaStep(name=name, activity="reserve", input=name, undo="release", attempts=2) for name in ("a", "b")
]
SAGA_TRACES = Scenario(
    SagaWorkflow,
    SagaPlan(steps=STEPS),
    ReservationWorld,
    messages=[Say("cancel", decision("cancel-1"))],
    interceptors=(),
)
NO_ANSWER = ("lost", "dropped", "late")  # fates that end by the time-out of the step
AT_ONCE = 10  # traces: more would only make each other late


def side_by_side(client: Client, queue: str, outside: Outside, seed: str) -> SideBySide:
    """A trace whose steps time out soon where one is to time out, and else not at all."""
    expected = SideBySide(SAGA_TRACES, client, queue, outside, seed).simulate()
    seconds = 4 if any(label.endswith(NO_ANSWER) for label in expected) else 600
    plan = SagaPlan(steps=STEPS, rules=SagaRules(step_seconds=seconds))
    return SideBySide(variant(SAGA_TRACES, input=plan), client, queue, outside, seed)


async def test_random_traces_end_alike_on_a_real_server(client: Client) -> None:
    """One thing at a time, as only that can be steered: a real server decides what shares a workflow task."""
    outside, queue = Outside(), f"side-{uuid.uuid4().hex}"
    anything = outside.activity()
    options = {"workflow_runner": UnsandboxedWorkflowRunner(), "activities": [anything]}
    plays = [side_by_side(client, queue, outside, f"{seed}") for seed in range(50)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def played(play: SideBySide) -> tuple[Any, Any]:
        async with gate:
            return await play.run()

    async with (
        Worker(client, task_queue=queue, workflows=[SagaWorkflow], **options),
        Worker(client, task_queue=PLATFORM_QUEUE, activities=[anything]),
    ):
        ends = await asyncio.gather(*(played(play) for play in plays))
        for attempt in outside.attempts.values():
            if not attempt.fate.done():
                attempt.fate.cancel()
    for play, (simulated, real) in zip(plays, ends, strict=True):
        assert simulated[0] == real[0], play.trace
        assert simulated[2] == real[2], play.trace
        assert (simulated[1] or {}).get("state") == (real[1] or {}).get("state"), play.trace


TOGETHER = [["a=ok", "cancel"], ["cancel", "a=ok"], ["a=ok", "cancel-run"], ["a=refused", "cancel"]]


@pytest.mark.parametrize("both", TOGETHER, ids=" and ".join)
async def test_what_shares_a_workflow_task_ends_alike_on_a_real_server(
    client: Client, both: list[str]
) -> None:
    """Both arrive while no worker takes workflow tasks, so the next one finds them in one task."""
    outside, queue = Outside(), f"side-{uuid.uuid4().hex}"
    anything = outside.activity()

    def workflow_worker() -> Worker:
        return Worker(
            client,
            task_queue=queue,
            workflows=[SagaWorkflow],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=0,  # a sticky queue would keep the task from the next worker for seconds
        )

    worker = Restarted(workflow_worker)
    async with (
        Worker(client, task_queue=queue, activities=[anything]),
        Worker(client, task_queue=PLATFORM_QUEUE, activities=[anything]),
    ):
        await worker.start()
        play = SideBySide(SAGA_TRACES, client, queue, outside, "0")
        simulated, real = await play.run_together(["resolve_activities.1=ok"], both, worker)
        await worker.stop()
        for attempt in outside.attempts.values():
            if not attempt.fate.done():
                attempt.fate.cancel()
    assert simulated[0] == real[0]
    assert simulated[2] == real[2]
    assert (simulated[1] or {}).get("state") == (real[1] or {}).get("state")


@workflow.defn(name="OperatedOn")
class OperatedOn:
    """What the server does with an activity that an operator pauses, and with an id that is in use."""

    def __init__(self) -> None:
        self.slept = False

    @workflow.run
    async def run(self, again: bool) -> str:
        charge = workflow.start_activity(
            "reserve",
            StepCall(idempotency_key="k", input="charge"),
            activity_id="charge",
            schedule_to_close_timeout=timedelta(seconds=2),
        )
        await workflow.sleep(3 if not again else 0.2)
        self.slept = True
        if again:
            charge.cancel()
        try:
            return str(await charge)
        except ActivityError:
            return await workflow.execute_activity(
                "reserve",
                StepCall(idempotency_key="k", input="charge"),
                activity_id="charge",
                start_to_close_timeout=timedelta(seconds=2),
            )

    @workflow.query
    def has_slept(self) -> bool:
        return self.slept


class OperatedWorld(World):
    activities: ClassVar = {"reserve": Activity(step, faults=frozenset({"error"}))}


OPERATED = Scenario(OperatedOn, False, OperatedWorld, interceptors=(), task_failures=True)


@pytest.fixture
async def outside(client: Client) -> AsyncIterator[tuple[Outside, str]]:
    outside, queue = Outside(), f"side-{uuid.uuid4().hex}"
    options = {"workflow_runner": UnsandboxedWorkflowRunner(), "activities": [outside.activity()]}
    async with Worker(client, task_queue=queue, workflows=[OperatedOn], **options):
        yield outside, queue
        for attempt in outside.attempts.values():
            if not attempt.fate.done():
                attempt.fate.cancel()


async def _begun(client: Client, outside: Outside, queue: str, again: bool) -> WorkflowHandle[Any, Any]:
    workflow_id = f"side-{uuid.uuid4().hex}"
    outside.worlds[workflow_id] = OperatedWorld()
    handle = await client.start_workflow("OperatedOn", again, id=workflow_id, task_queue=queue)
    await eventually(lambda: (workflow_id, "charge", 1) in outside.attempts)
    return handle


async def test_a_paused_activity_waits_beyond_its_deadline_on_a_real_server_too(
    client: Client, outside: tuple[Outside, str]
) -> None:
    handle = await _begun(client, *outside, again=False)
    paused = PauseActivityRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=handle.id), id="charge"
    )
    await client.workflow_service.pause_activity(paused)
    outside[0].attempts[handle.id, "charge", 1].fate.set_result("error")
    await eventually(partial(handle.query, "has_slept"))
    (pending,) = (await handle.describe()).raw_description.pending_activities
    assert (pending.paused, pending.attempt) == (True, 2)
    await handle.terminate()
    story = OPERATED.explore(replay="; charge=pause; charge=error; timer.1").story
    assert "charge=deadline" not in story.partition("timer.1")[0]


async def test_an_id_in_use_fails_the_task_on_a_real_server_too(
    client: Client, outside: tuple[Outside, str]
) -> None:
    handle = await _begun(client, *outside, again=True)

    async def refused() -> bool:
        events = [event async for event in handle.fetch_history_events()]
        causes = [event.workflow_task_failed_event_attributes.cause for event in events]
        return WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID in causes

    await eventually(refused)
    await handle.terminate()
    story = variant(OPERATED, input=True).explore(replay="; timer.1").story
    assert "ScheduleActivityDuplicateId" in story
