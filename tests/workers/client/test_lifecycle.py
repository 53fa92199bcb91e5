"""The audit of runs: start and end, once each, whatever ends them; and never in the way of the business."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from dashboard import temporal
from dashboard.audit import log as audit
from dashboard.management.commands.auditreconcile import reconcile
from dashboard.models import AuditEntry
from tests.golden import replayer
from tests.support import eventually
from tests.workers.interceptors import lifecycle_workflows as lives
from workers.client.launch import launch
from workers.conf import conf
from workers.contracts.lifecycle import LIFECYCLE_HEADER, RECORD, Lifecycle
from workers.process.plugins import worker_plugins
from workers.registry.registry import Queue, registry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def audited(settings) -> None:
    settings.WORKERS = conf().model_copy(update={"lifecycle_audit": True})


@pytest.fixture
def registered(monkeypatch, queue) -> str:
    monkeypatch.setitem(registry.queues, queue, Queue(queue, (lives.LivingWorkflow,)))
    return queue


@pytest.fixture
def name() -> str:
    return f"life-{uuid.uuid4().hex}"


async def events(workflow_id: str) -> list[str]:
    found = AuditEntry.objects.filter(workflow_id=workflow_id).order_by("id")
    return await sync_to_async(lambda: [entry.outcome for entry in found])()


@pytest.mark.parametrize(
    ("how", "end"), [("done", "completed"), ("bug", "failed"), ("refuse", "failed"), ("again", "completed")]
)
async def test_start_and_end_are_in_the_audit_once(audited, registered, worker, name, how, end):
    async with worker(registered, workflows=[lives.LivingWorkflow]):
        handle = await launch("Living", how, id=name)
        await asyncio.gather(handle.result(), return_exceptions=True)
        await launch("Living", how, id=name)  # again: the same run
    # A run of milliseconds can end before its launcher writes that it began: rows stand in order of arrival.
    assert sorted(await events(name)) == sorted(["started", end])
    entry = await AuditEntry.objects.filter(workflow_id=name).afirst()
    assert entry is not None
    assert (entry.run_id, entry.tenant, entry.actor) == (
        handle.first_execution_run_id,
        "default",
        temporal.ACTOR,
    )
    assert (await sync_to_async(audit.verify)())[2] is None


async def test_a_second_cancellation_does_not_lose_the_record(audited, registered, worker, name, monkeypatch):
    """The record waits at a gate while the run is cancelled once more."""
    gate = asyncio.Event()

    @activity.defn(name=RECORD)
    async def slow(event: Lifecycle) -> bool:
        asked.set()
        await gate.wait()
        return await sync_to_async(temporal.record)(event)

    asked = asyncio.Event()
    handle = await launch("Living", "wait", id=name)
    monkeypatch.setattr(registry, "shared", (slow,))
    async with worker(registered, workflows=[lives.LivingWorkflow]):
        await handle.cancel()
        await asyncio.wait_for(asked.wait(), 30)
        await handle.cancel()
        gate.set()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert await events(name) == ["started", "cancelled"]


async def test_an_audit_that_is_away_stops_nobody_and_is_reconciled(
    audited, registered, worker, name, monkeypatch
):
    tries = []

    @activity.defn(name=RECORD, no_thread_cancel_exception=True)
    def away(event: Lifecycle) -> bool:
        tries.append(event.event.value)
        raise DatabaseError("away")

    monkeypatch.setattr(registry, "shared", (away,))
    since = datetime.now(UTC) - timedelta(minutes=5)
    async with worker(registered, workflows=[lives.LivingWorkflow]):
        handle = await launch("Living", "done", id=name)
        assert await handle.result() == "done"
    # a run may have ended before its start is recorded
    assert sorted(tries) == ["completed"] * 3 + ["started"] * 2
    assert await events(name) == []

    async def complete() -> bool:
        await reconcile(since)
        return await events(name) == ["started", "completed"]

    await eventually(complete)  # lists lag a little
    await reconcile(since)
    assert await events(name) == ["started", "completed"]
    entry = await AuditEntry.objects.filter(workflow_id=name).afirst()
    assert entry is not None
    assert entry.run_id == handle.first_execution_run_id


async def test_a_terminated_run_is_reconciled(audited, client, registered, name):
    since = datetime.now(UTC) - timedelta(minutes=5)
    handle = await launch("Living", "wait", id=name)
    await handle.terminate()

    async def complete() -> bool:
        await reconcile(since)
        return await events(name) == ["started", "terminated"]

    await eventually(complete)


async def test_an_eviction_records_nothing(audited, client, registered, name, django_db_blocker):
    """A worker that keeps no run in its cache evicts after each task."""
    handle = await launch("Living", "wait", id=name)
    with django_db_blocker.unblock():
        async with Worker(
            client,
            task_queue=registered,
            workflows=[lives.LivingWorkflow],
            activities=[temporal.record],
            activity_executor=lives.EXECUTOR,
            max_cached_workflows=0,
            plugins=worker_plugins(),
        ):
            for _ in range(3):
                assert await handle.query("asked") == 0
            assert await events(name) == ["started"]
            await handle.signal("go")
            assert await handle.result() == "went"
    assert await events(name) == ["started", "completed"]
    await replayer(client, [lives.LivingWorkflow]).replay_workflow(await handle.fetch_history())


async def test_without_the_setting_nothing_is_recorded(registered, worker, name, client):
    async with worker(registered, workflows=[lives.LivingWorkflow], activities=[lives.unused]):
        handle = await launch("Living", "done", id=name)
        await handle.result()
    history = await handle.fetch_history()
    start = history.events[0].workflow_execution_started_event_attributes
    assert LIFECYCLE_HEADER not in start.header.fields
    assert await events(name) == []


async def test_a_worker_without_an_audit_ends_the_run_all_the_same(
    audited, registered, worker, name, monkeypatch
):
    monkeypatch.setattr(registry, "shared", ())
    async with worker(registered, workflows=[lives.LivingWorkflow], activities=[lives.unused]):
        handle = await launch("Living", "done", id=name)
        assert await handle.result() == "done"
    assert await events(name) == []


def test_the_same_event_twice_is_one_row():
    event = Lifecycle(event="failed", workflow_id="w", run_id="r", detail="password=hunter2")
    assert [temporal.record(event), temporal.record(event)] == [True, False]
    assert "hunter2" not in AuditEntry.objects.get(workflow_id="w").detail
