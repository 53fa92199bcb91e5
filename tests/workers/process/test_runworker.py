"""`manage.py runworker` as a process of its own: codes, lists, drains and probes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.core.checks import run_checks
from django.core.management import get_commands
from temporalio.client import Client

from tests.support import eventually
from tests.workers import sample_workflows
from workers.conf import conf
from workers.process.worker_process import CANCEL_SECONDS, Exit, Stop, WorkerProcess
from workers.registry.registry import Queue

ROOT = Path(__file__).resolve().parents[3]

# An app as a team would write one. `{more}` goes into temporal.py.
TEMPORAL = """
from tests.workers import sample_workflows
from workers.registry.registry import registry
registry.add("{queue}", workflows=[sample_workflows.NappingWorkflow], activities=[sample_workflows.nap])
{more}
"""
BREAKS_IN_SANDBOX = """
import pathlib
from temporalio import workflow
if workflow.unsafe.in_sandbox():
    pathlib.Path("x").read_text()
@workflow.defn
class BreakingWorkflow:
    @workflow.run
    async def run(self) -> None: ...
"""


@dataclass
class App:
    """A domain app in a folder of its own, and how to run commands with it."""

    folder: Path
    name: str
    queue: str

    def write(self, more: str = "") -> None:
        folder = self.folder / self.name
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / "conf.py").touch()
        (folder / "temporal.py").write_text(TEMPORAL.format(queue=self.queue, more=more))

    def env(self, **more: str) -> dict[str, str]:
        own = {
            "SIGNALBOX_MODE": "development",
            "SIGNALBOX_APPS": self.name,
            "SIGNALBOX_STATE_DIR": str(self.folder / "state"),
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
            "TEMPORAL_ADDRESS": conf().address,
        }
        return {**os.environ, **own, **more}

    async def start(self, *args: str, **env: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "manage.py"), "runworker", *args),
            env=self.env(**env),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, *args: str, **env: str) -> tuple[int, str]:
        """Exit code and all that it said."""
        process = await self.start(*args, **env)
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, said.decode()


@pytest.fixture
def app(server, tmp_path, queue) -> App:
    made = App(tmp_path, f"app_{uuid.uuid4().hex[:8]}", queue)
    made.write()
    return made


Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def running(app) -> AsyncIterator[Start]:
    """Start a worker and wait until it polls; whatever is left of it is killed."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*args: str, **env: str) -> asyncio.subprocess.Process:
        process = await app.start(*args, **env)
        started.append(process)
        assert process.stdout
        async with asyncio.timeout(60):
            said = b""
            while b"Polling" not in said:
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def napping(client: Client, queue: str, seconds: float):
    """A workflow whose activity has begun and naps."""
    handle = await client.start_workflow(
        sample_workflows.NappingWorkflow.run, seconds, id=f"nap-{uuid.uuid4().hex}", task_queue=queue
    )

    async def begun() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(item.last_started_time.seconds for item in pending)

    await eventually(begun, timeout=20)
    return handle


def test_it_wins_over_the_command_of_channels():
    assert get_commands()["runworker"] == "workers"
    assert not [message for message in run_checks() if message.id == "workers.E001"]


def test_the_wrong_order_of_apps_is_an_error(settings):
    order = [name for name in settings.INSTALLED_APPS if name != "workers"]
    settings.INSTALLED_APPS = [*order, "workers"]
    assert [message.id for message in run_checks() if message.id == "workers.E001"] == ["workers.E001"]


async def test_list_tells_what_runs_where(app):
    code, said = await app.run("--list")
    assert code == Exit.OK
    own = said.partition(f"{app.queue}: 32 activities at once in a process\n")[2].splitlines()
    assert "  workflow Napping, pinned" in own
    assert "  activity nap" in own
    assert "  workflow BreakerWorkflow, upgrades\n" in said
    assert "deployment none" in said
    assert "BreakerWorkflow" in said


async def test_an_unknown_queue_is_refused_naming_the_known(app):
    code, said = await app.run("no-such-queue")
    assert code == Exit.USAGE
    assert "no-such-queue" in said
    assert app.queue in said


async def test_check_passes_where_a_worker_could_run(app):
    code, said = await app.run("--check")
    assert code == Exit.OK, said
    assert "are as declared" in said


async def test_check_without_a_server(app):
    code, said = await app.run("--check", TEMPORAL_ADDRESS="127.0.0.1:1")
    assert code == Exit.UNAVAILABLE
    assert "127.0.0.1:1" in said
    assert "Traceback" not in said


async def test_check_where_an_attribute_is_missing(app):
    app.write(
        "from temporalio.common import SearchAttributeKey\n"
        f"registry.add('{app.queue}', attributes=[SearchAttributeKey.for_int('NeverRegistered')])"
    )
    code, said = await app.run("--check")
    assert code == Exit.ATTRIBUTES
    assert "NeverRegistered" in said


async def test_check_and_run_where_an_attribute_has_another_type(app):
    app.write(
        "from temporalio.common import SearchAttributeKey\n"
        f"registry.add('{app.queue}', attributes=[SearchAttributeKey.for_int('Stage')])"
    )
    for args in (["--check"], []):
        code, said = await app.run(*args)
        assert code == Exit.ATTRIBUTES
        assert "Stage is of type keyword" in said


async def test_check_of_a_workflow_that_breaks_in_the_sandbox(app):
    app.write(
        f"from {app.name}.breaking import BreakingWorkflow\n"
        f"registry.add('{app.queue}', workflows=[BreakingWorkflow])"
    )
    (app.folder / app.name / "breaking.py").write_text(BREAKS_IN_SANDBOX)
    for args in (["--check"], []):
        code, said = await app.run(*args)
        assert code == Exit.WORKFLOW, said
        assert "CommandError" in said


async def test_check_of_a_module_that_does_not_import(app):
    app.write("import no_such_module")
    code, said = await app.run("--check")
    assert code == Exit.WORKFLOW
    assert "no_such_module" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains(app, client, running, number):
    process = await running()
    handle = await napping(client, app.queue, 1.5)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 30) == Exit.OK
    # The activity that was running ended here, in its first attempt.
    history = await handle.fetch_history()
    assert [event for event in history.events if event.HasField("activity_task_completed_event_attributes")]
    await handle.terminate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_the_second_signal_stops_at_once(app, client, running, number, code):
    process = await running(WORKER_DRAIN_SECONDS="60")
    handle = await napping(client, app.queue, 50)
    process.send_signal(number)
    assert process.stdout
    assert b"draining" in await asyncio.wait_for(process.stdout.readline(), 10)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == code
    await handle.terminate()


async def test_a_drain_ends_hard_at_its_bound_and_names_what_it_left(app, client, running):
    process = await running(WORKER_DRAIN_SECONDS="1")
    handle = await napping(client, app.queue, 50)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 143
    assert time.monotonic() - began < 1 + CANCEL_SECONDS + 3
    left = f"The drain did not end within 6 s. Activities left: nap of {handle.id} (attempt 1)."
    assert left in said.decode().splitlines()[-1]
    assert b"Traceback" not in said
    await handle.terminate()


async def test_a_queue_that_no_worker_polls_is_named(app, running):
    app.write(f"registry.add('{app.queue}-other', activities=[sample_workflows.tell_sync])")
    process = await running(app.queue)
    assert process.stdout
    async with asyncio.timeout(30):
        said = b""
        while f"No worker polls {app.queue}-other:".encode() not in said:
            line = await process.stdout.readline()
            assert line, said.decode()
            said += line
    assert f"No worker polls {app.queue}:".encode() not in said


async def test_probes_tell_the_truth(app, client, running):
    port = free_port()
    process = await running("--health-port", str(port), WORKER_DRAIN_SECONDS="30")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def ready() -> httpx.Response:
            return await http.get("/readyz")

        async def is_ready() -> bool:
            return (await ready()).status_code == 200

        await eventually(is_ready, timeout=20)
        handle = await napping(client, app.queue, 3)
        process.send_signal(signal.SIGTERM)
        answer = await eventually(lambda: _not_ready(ready), timeout=5)
        assert answer.json() == {"ok": False, "reasons": ["The worker is draining."]}
        assert (await http.get("/healthz")).status_code == 200
    await handle.terminate()


async def _not_ready(ready: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response | None:
    answer = await ready()
    return answer if answer.status_code == 503 else None


async def test_a_health_port_in_use_is_told(app):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = await app.run("--health-port", str(taken.getsockname()[1]))
    assert code == Exit.USAGE
    assert "health port" in said


async def test_a_worker_registers_what_is_missing_and_calls_itself_as_told(app, client, running):
    name = f"Fresh{uuid.uuid4().hex[:8]}"
    app.write(
        "from temporalio.common import SearchAttributeKey\n"
        f"registry.add('{app.queue}', attributes=[SearchAttributeKey.for_keyword_list('{name}')])"
    )
    await running("--identity", "me")
    handle = await napping(client, app.queue, 0.5)
    assert (await client.count_workflows(f"{name} IS NOT NULL")).count == 0
    await handle.result()
    history = await handle.fetch_history()
    names = {
        event.workflow_task_started_event_attributes.identity
        for event in history.events
        if event.HasField("workflow_task_started_event_attributes")
    }
    assert names == {"me"}


async def test_a_breaker_that_is_registered_runs(app, client, running):
    dependency = f"dep{uuid.uuid4().hex[:8]}"
    app.write(
        "from workers.patterns.breaker.plugin import breakers\n"
        f"breakers.register('{dependency}', threshold=7, open_seconds=60)"
    )
    await running(app.queue)
    answer = await client.get_workflow_handle(f"breaker-{dependency}").query("get_circuit_status")
    assert (answer["state"], answer["threshold"]) == ("CLOSED", 7)
    await client.get_workflow_handle(f"breaker-{dependency}").terminate()


async def test_a_worker_that_fails_ends_the_process_and_the_other_workers(client, queue):
    """A namespace that vanished: the servers of Temporal refuse the pollers for good."""
    queues = [
        Queue(name, (sample_workflows.NappingWorkflow,), (sample_workflows.nap,))
        for name in (queue, f"{queue}-2")
    ]
    nowhere = Client(client.service_client, namespace=f"gone-{uuid.uuid4().hex}")
    with pytest.raises(Stop, match="A worker failed") as caught:
        await asyncio.wait_for(WorkerProcess(queues)._serve(nowhere), 30)
    assert caught.value.code is Exit.FATAL
