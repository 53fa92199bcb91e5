"""The worker process: its limits, its ports, and what it does when the code under it changes."""

from __future__ import annotations

import asyncio
import socket
import uuid
from contextlib import suppress

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import PollerBehaviorAutoscaling, PollerBehaviorSimpleMaximum, Worker, WorkerConfig

from tests.support import eventually
from tests.workers import sample_workflows
from tests.workers.process import builds
from tests.workers.process.test_runworker import app, free_port, napping, running  # noqa: F401 (fixtures)
from workers.client.connection import connect, has_pollers
from workers.conf import conf
from workers.process import metrics
from workers.process.build_worker import activity_slots, build
from workers.process.health import Health, Watched
from workers.process.plugins import worker_plugins
from workers.process.watch import watch_slots
from workers.process.worker_process import Exit
from workers.registry.registry import Queue


@pytest.fixture
def name() -> str:
    return f"run-{uuid.uuid4().hex}"


def test_the_slots_of_a_queue_are_said_by_settings_then_by_its_registration():
    settings = conf().model_copy(update={"activity_threads": 9, "queue_limits": {"high": 3}})
    assert activity_slots(settings, Queue("plain")) == 9
    assert activity_slots(settings, Queue("low", max_activities=2)) == 2
    assert activity_slots(settings, Queue("high", max_activities=2)) == 3


async def test_cache_and_pollers_of_a_worker_are_settings(client, queue):
    def built(suffix: str, **changes) -> WorkerConfig:
        both = Queue(f"{queue}-{suffix}", (builds.CrowdWorkflow,), (builds.Gate().enter,))
        return build(client, both, conf().model_copy(update=changes), [], "me").config()

    plain, tuned = built("plain"), built("tuned", max_cached_workflows=7, max_pollers=3)
    assert (plain["max_cached_workflows"], tuned["max_cached_workflows"]) == (1000, 7)
    for kind in ("workflow_task_poller_behavior", "activity_task_poller_behavior"):
        assert plain[kind] == PollerBehaviorSimpleMaximum(5)
        assert tuned[kind] == PollerBehaviorAutoscaling(minimum=1, maximum=3, initial=3)


@pytest.mark.parametrize("tuning", ["fixed", "resources"])
async def test_a_queue_does_no_more_at_once_than_its_limit(client, queue, name, tuning, django_db_blocker):
    gate = builds.Gate()
    limited = Queue(queue, (builds.CrowdWorkflow,), (gate.enter,), max_activities=2, max_workflow_tasks=5)
    settings = conf().model_copy(update={"tuning": tuning})
    health = Health(("127.0.0.1", free_port()))
    with django_db_blocker.unblock():
        async with build(client, limited, settings, worker_plugins(), "me"):
            health.watch(client, [Watched(limited, "me", activity_slots(settings, limited))])
            handle = await client.start_workflow(builds.CrowdWorkflow.run, 4, id=name, task_queue=queue)
            await eventually(lambda: gate.inside == 2)

            async def shown() -> bool:
                (status,) = await health.queues()
                return status.polling and status.last_poll is not None and status.activities == 2

            await eventually(shown)
            assert await health.reasons() == []  # busy, and no longer than it may be
            gate.open.set()
            await handle.result()
    assert gate.most == 2


async def test_slots_held_past_their_timeout_make_the_worker_unready_and_are_named(
    client, queue, name, django_db_blocker, caplog
):
    gate = builds.Gate()
    limited = Queue(queue, (builds.CrowdWorkflow,), (gate.enter,), max_activities=2)
    health, watched = Health(("127.0.0.1", free_port())), Watched(limited, "me", 2)
    with django_db_blocker.unblock():
        async with build(client, limited, conf(), worker_plugins(), "me"):
            health.watch(client, [watched])
            watch = asyncio.create_task(watch_slots([watched], every=0.05))
            handle = await client.start_workflow(
                builds.CrowdWorkflow.run, args=[2, 1.0], id=name, task_queue=queue
            )
            expected = (
                f"{queue}: all 2 activity slots are held past their timeout: enter of {name} (attempt 1)"
            )
            await eventually(lambda: _mentions(health, expected))
            (status,) = await health.queues()
            assert (status.overdue, status.activities) == (2, 2)
            await eventually(lambda: any(expected in line for line in caplog.messages))
            gate.open.set()
            await eventually(lambda: any("free again" in line for line in caplog.messages))
            await eventually(lambda: _ready(health))
            watch.cancel()
            await handle.terminate()
    assert sum(expected in line for line in caplog.messages) == 1


async def _mentions(health, expected) -> bool:
    return any(expected in reason for reason in await health.reasons())


async def _ready(health) -> bool:
    return await health.reasons() == []


async def test_a_queue_without_activity_pollers_is_not_ready(client, queue, name):
    """Workflow tasks alone: the state in which no activity is ever taken, and nobody would know."""
    both = Queue(queue, (builds.CrowdWorkflow,), (builds.Gate().enter,))
    health = Health(("127.0.0.1", free_port()))
    async with Worker(client, task_queue=queue, workflows=[builds.CrowdWorkflow], identity="me"):
        health.watch(client, [Watched(both, "me", 2)])
        await eventually(lambda: has_pollers(client, queue))
        assert await health.reasons() == [f"{queue} is not polled."]


async def test_a_completed_run_is_audited_while_all_activity_slots_are_taken(
    client, queue, name, django_db_blocker
):
    """The record is a local activity, and those have threads of their own."""
    gate = builds.Gate()
    workflows = builds.CrowdWorkflow, builds.NotingWorkflow
    limited = Queue(queue, workflows, (gate.enter, builds.note_locally), max_activities=2)
    with django_db_blocker.unblock():
        async with build(client, limited, conf(), worker_plugins(), "me"):
            crowd = await client.start_workflow(
                builds.CrowdWorkflow.run, args=[2, 60.0], id=name, task_queue=queue
            )
            await eventually(lambda: gate.inside == 2)
            noted = await client.execute_workflow(
                builds.NotingWorkflow.run, id=f"{name}-noting", task_queue=queue
            )
            assert noted == "noted"
            gate.open.set()
            await crowd.result()


async def test_a_deploy_that_does_not_replay_leaves_open_runs_open_and_raises_an_alarm(
    client, queue, worker, name, caplog
):
    port = free_port()
    watched = await connect(for_worker=True, runtime=metrics.runtime("127.0.0.1", port))
    async with worker(queue, workflows=[builds.FirstBuild], activities=[sample_workflows.tell_sync]):
        handle = await client.start_workflow("Built", id=name, task_queue=queue)
        await eventually(lambda: asked(handle))
    second = Queue(queue, (builds.SecondBuild,), (sample_workflows.tell_sync,))
    async with build(watched, second, conf(), worker_plugins(), "second"):
        await handle.signal("go")

        async def alarmed() -> bool:
            return 'failure_reason="NonDeterminismError"' in await scraped(port)

        await eventually(alarmed)
        await eventually(lambda: any("Nondeterminism" in line for line in caplog.messages))
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        assert "temporal_workflow_failed_total{" not in await scraped(port)
    await handle.terminate()


async def asked(handle) -> bool:
    history = await handle.fetch_history()
    return any(event.HasField("activity_task_completed_event_attributes") for event in history.events)


async def scraped(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"http://127.0.0.1:{port}/metrics")).text


async def test_ports_tell_what_the_process_does(app, client, running):  # noqa: F811
    health, prometheus = free_port(), free_port()
    await running("--health-port", str(health), WORKER_METRICS_PORT=str(prometheus), LOG_FORMAT="json")
    handle = await napping(client, app.queue, 0.1)
    await handle.result()

    async def counted() -> bool:
        text = await scraped(prometheus)
        ended = "temporal_workflow_completed_total{" in text
        return ended and 'activity_type="nap"' in text and "temporal_num_pollers" in text

    await eventually(counted)
    text = await scraped(prometheus)
    assert all(handle.id not in line for line in text.splitlines())  # no ids among the labels
    async with httpx.AsyncClient(trust_env=False) as http:
        found = (await http.get(f"http://127.0.0.1:{health}/status")).json()
    assert found["draining"] is False
    mine = next(item for item in found["queues"] if item["queue"] == app.queue)
    assert (mine["polling"], mine["slots"], mine["activities"]) == (True, 32, 0)
    assert mine["identity"].startswith(f"signalbox/{app.queue}@{socket.gethostname()}:")


async def test_a_metrics_port_in_use_is_one_sentence(app):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = await app.run(WORKER_METRICS_PORT=port)
    assert code == Exit.USAGE
    assert f"The metrics port {port} cannot be opened" in said
    assert "Traceback" not in said


LONG = "".join(map(chr, range(ord("0"), ord("z"))))  # as random as the settings demand


async def test_reload_is_refused_in_production(app):  # noqa: F811
    code, said = await app.run(
        "--reload", SIGNALBOX_MODE="production", SECRET_KEY=LONG, AUDIT_KEYS=LONG[::-1]
    )
    assert code == Exit.USAGE
    assert "development" in said


async def test_a_change_of_a_file_starts_the_worker_again(app, running):  # noqa: F811
    process = await running("--reload")
    assert process.stdout
    said, change = b"", 0
    async with asyncio.timeout(60):
        while b"Polling" not in said:
            app.write(f"# change {(change := change + 1)}")  # again, as the watch may have begun after it
            with suppress(TimeoutError):
                said += await asyncio.wait_for(process.stdout.readline(), 5)
    process.terminate()  # ends the process that watches, and the one that works with it
    assert await process.wait() == Exit.OK
