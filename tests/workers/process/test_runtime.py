"""The worker process: its limits, its ports, and what it does when the code under it changes."""

from __future__ import annotations

import asyncio
import socket
import uuid
from contextlib import suppress

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

from tests.support import eventually
from tests.workers import sample_workflows
from tests.workers.process import builds
from tests.workers.process.test_runworker import app, free_port, napping, running  # noqa: F401 (fixtures)
from workers import counters
from workers.client.connection import connect
from workers.conf import conf
from workers.process import metrics
from workers.process.build_worker import activity_slots, build
from workers.process.health import Health, Watched
from workers.process.plugins import worker_plugins
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
            gate.open.set()
            await handle.result()
    assert gate.most == 2


async def test_a_deploy_that_does_not_replay_leaves_open_runs_open_and_raises_an_alarm(
    client, queue, worker, name, monkeypatch, caplog
):
    port = free_port()
    monkeypatch.setattr(counters, "_counters", {})
    watched = await connect(patient=True, runtime=metrics.runtime("127.0.0.1", port))
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
        assert 'signalbox_workflow_ends_total{outcome="failed"' not in await scraped(port)
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
        ended = 'signalbox_workflow_ends_total{outcome="completed",' in text
        return ended and 'activity_type="nap"' in text and "temporal_num_pollers" in text

    await eventually(counted)
    text = await scraped(prometheus)
    ours = [line for line in text.splitlines() if line.startswith("signalbox_activities_total{")]
    assert ours
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


async def test_reload_is_refused_in_production(app):  # noqa: F811
    code, said = await app.run("--reload", SIGNALBOX_MODE="production", SECRET_KEY="x" * 40)
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
