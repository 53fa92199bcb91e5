"""The simulator does as a real server and worker do: recorded histories, and the same traces run for real."""

from __future__ import annotations

import asyncio
import json
import uuid
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.golden import FOLDER, golden
from tests.workers.explore.models import PLATFORM, decision, step, undo
from tests.workers.explore.real import Outside, Restarted, SideBySide
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


class Rails(World):
    """Steps and undos that can be steered from outside; what is resolved is answered by the worker itself."""

    activities: ClassVar = {
        **PLATFORM,
        "resolve_activities": Activity(_resolve, role="other", faults=frozenset({"error"})),
        "couple": Activity(step, faults=FAULTS),
        "uncouple": Activity(undo, role="undo", faults=frozenset({"error", "error-after"}), most_faults=1),
    }


STEPS = [
    SagaStep(name=name, activity="couple", input=name, undo="uncouple", attempts=2) for name in ("a", "b")
]
SAGA_TRACES = Scenario(
    SagaWorkflow,
    SagaPlan(steps=STEPS, rules=SagaRules(step_seconds=2)),
    Rails,
    messages=[Say("cancel", decision("cancel-1"))],
    interceptors=(),
)


async def test_random_traces_end_alike_on_a_real_server(client: Client) -> None:
    """One thing at a time, as only that can be steered: a real server decides what shares a workflow task."""
    outside, queue = Outside(), f"side-{uuid.uuid4().hex}"
    anything = outside.activity()
    options = {"workflow_runner": UnsandboxedWorkflowRunner(), "activities": [anything]}
    plays = [SideBySide(SAGA_TRACES, client, queue, outside, f"{seed}") for seed in range(50)]
    async with (
        Worker(client, task_queue=queue, workflows=[SagaWorkflow], **options),
        Worker(client, task_queue=PLATFORM_QUEUE, activities=[anything]),
    ):
        ends = await asyncio.gather(*(play.run() for play in plays))
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
    long = variant(SAGA_TRACES, input=SagaPlan(steps=STEPS))
    async with (
        Worker(client, task_queue=queue, activities=[anything]),
        Worker(client, task_queue=PLATFORM_QUEUE, activities=[anything]),
    ):
        await worker.start()
        play = SideBySide(long, client, queue, outside, "0")
        simulated, real = await play.run_together(["resolve_activities.1=ok"], both, worker)
        await worker.stop()
        for attempt in outside.attempts.values():
            if not attempt.fate.done():
                attempt.fate.cancel()
    assert simulated[0] == real[0]
    assert simulated[2] == real[2]
    assert (simulated[1] or {}).get("state") == (real[1] or {}).get("state")
