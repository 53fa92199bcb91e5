"""Worker deployments on a real server, and what the build id covers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import VersioningBehavior
from temporalio.worker import Worker

from tests.examples import mailer
from tests.examples.versioned import EntityWorkflow, ShortWorkflow, register
from tests.support import eventually
from workers.conf import WorkersConf, conf
from workers.patterns.breaker.names import QUEUE as BREAKERS
from workers.process import versions
from workers.process.sandbox import workflow_runner
from workers.process.versions import NotDeployed, build_id, deployment_config, make_current, upgrading
from workers.registry.registry import Queue, Registry

Handle = WorkflowHandle[Any, Any]


def build(name: str, deployment: str = "") -> WorkersConf:
    return conf().model_copy(update={"deployment": deployment, "build_id": name})


@asynccontextmanager
async def worker_of(client: Client, queue: Queue, settings: WorkersConf) -> AsyncIterator[None]:
    async with Worker(
        client,
        task_queue=queue.name,
        workflows=queue.workflows,
        workflow_runner=workflow_runner(upgrading(settings, queue)),
        deployment_config=deployment_config(settings),
    ):
        yield


@pytest.fixture
def both(queue: str) -> Queue:
    own = Registry()
    register(own, queue)
    assert own.queues[queue].workflows == (ShortWorkflow, EntityWorkflow)
    return own.queues[queue]


async def pinned_and_upgrading(client: Client, queue: Queue) -> tuple[Handle, Handle]:
    """A run of each, which have begun."""
    handles = [
        await client.start_workflow(cls.run, id=f"{cls.__name__}-{uuid.uuid4().hex}", task_queue=queue.name)
        for cls in (ShortWorkflow, EntityWorkflow)
    ]
    for handle in handles:
        await eventually(partial(handle.query, "builds"))
    return handles[0], handles[1]


async def test_a_short_run_stays_on_its_build_and_an_entity_moves_on(client: Client, both: Queue):
    deployment = f"deploy-{uuid.uuid4().hex[:8]}"
    one, two = build("one", deployment), build("two", deployment)
    async with worker_of(client, both, one):
        assert await make_current(client, one) == f"{deployment}.one"
        short, entity = await pinned_and_upgrading(client, both)
        async with worker_of(client, both, two):
            assert await make_current(client, two) == f"{deployment}.two"
            assert await make_current(client, two) == f"{deployment}.two"  # twice is once

            async def moved() -> bool:
                await entity.signal("poke")
                return (await entity.query("builds"))[-1] == "two"

            await eventually(moved)
            await eventually(partial(begins_on_two, client, both))
            for handle in (short, entity):
                await handle.signal("poke")
                await handle.signal("end")
            assert set(await short.result()) == {"one"}
            told = await entity.result()
            assert (told[0], "two" in told) == ("one", True)


async def begins_on_two(client: Client, queue: Queue) -> bool:
    """Each partition of a queue hears of the build by itself, so the first runs may still begin on one."""
    handle = await client.start_workflow(ShortWorkflow.run, id=f"s-{uuid.uuid4().hex}", task_queue=queue.name)
    await handle.signal("poke")
    await handle.signal("end")
    builds = set(await handle.result())
    assert len(builds) == 1  # pinned from the first task on
    return builds == {"two"}


async def test_an_entity_runs_on_an_unversioned_worker(client: Client, both: Queue):
    async with worker_of(client, both, build("one")):
        for handle in await pinned_and_upgrading(client, both):
            await handle.signal("end")
            assert await handle.result() == ["one"]


async def test_a_build_that_no_worker_runs_cannot_become_current(client: Client):
    with pytest.raises(NotDeployed, match="start one first"):
        await make_current(client, build("ghost", f"deploy-{uuid.uuid4().hex[:8]}"), timeout=0)


def test_breakers_are_entities():
    from workers.registry.registry import registry

    registry.load()
    assert upgrading(build("", "d"), registry.queues[BREAKERS]) == ["BreakerWorkflow"]
    assert upgrading(build(""), registry.queues[BREAKERS]) == []


def test_only_a_deployment_makes_workers_versioned():
    unversioned, versioned = deployment_config(build("b")), deployment_config(build("b", "d"))
    assert (unversioned.use_worker_versioning, versioned.use_worker_versioning) == (False, True)
    assert unversioned.default_versioning_behavior is VersioningBehavior.UNSPECIFIED
    assert versioned.default_versioning_behavior is VersioningBehavior.PINNED


def test_a_page_of_the_console_is_no_part_of_a_build():
    from workers.registry.registry import registry

    registry.load()
    names = versions._registered(registry).keys()
    assert {
        "dashboard.temporal",
        "dashboard.models",
        "orders.workflows.order",
        "orders.gateways.http",
    } <= names
    assert not [name for name in names if "views" in name or "pages" in name or "console" in name]


def test_the_build_id_covers_code_and_plugins(tmp_path, monkeypatch):
    package = tmp_path / f"shop_{uuid.uuid4().hex[:8]}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "rules.py").write_text("LIMIT = 1\n")
    (package / "page.py").write_text("TITLE = 1\n")
    (package / "limits.py").write_text("from .rules import LIMIT\n")
    (package / "flows.py").write_text(
        f"from {package.name} import limits\n"
        "from temporalio import activity\n@activity.defn\nasync def act() -> None: ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own, settings = Registry(), build("")
    own.module(f"{package.name}.flows", queue="q")
    assert own.problems() == []
    first = build_id(settings, own)
    assert first == build_id(settings, own)
    assert len(first) == 12
    (package / "page.py").write_text("TITLE = 2\n")  # which nothing registered imports
    assert first == build_id(settings, own)
    (package / "rules.py").write_text("LIMIT = 2\n")
    second = build_id(settings, own)
    own.plugins["mailer"] = mailer.plugin
    third = build_id(settings, own)
    monkeypatch.setattr(mailer.plugin, "distribution", "mailer 1.1")
    assert len({first, second, third, build_id(settings, own)}) == 4
    assert build_id(build("given"), own) == "given"
