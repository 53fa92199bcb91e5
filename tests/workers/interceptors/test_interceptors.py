"""What surrounds every workflow and activity: failures, tenancy, database connections."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from temporalio import activity, workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from tests.support import eventually
from tests.workers import sample_workflows
from workers.client.tenancy import current_tenant, tenant_context
from workers.interceptors import database


@pytest.fixture
def name() -> str:
    return f"flow-{uuid.uuid4().hex}"


@pytest.fixture
async def raising(client, queue, worker, name):
    """Start RaisingWorkflow with a worker there; gives its handle."""
    async with worker(queue, workflows=[sample_workflows.RaisingWorkflow]):

        async def start(how: str):
            return await client.start_workflow(
                sample_workflows.RaisingWorkflow.run, how, id=name, task_queue=queue
            )

        yield start


async def test_a_bug_in_a_run_method_fails_the_workflow_with_its_class_name(raising):
    with pytest.raises(WorkflowFailureError) as caught:
        await (await raising("bug")).result()
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message, cause.non_retryable) == ("ValueError", "no such stage", True)


async def test_a_failure_on_purpose_stays_what_it_is(raising):
    with pytest.raises(WorkflowFailureError) as caught:
        await (await raising("failure")).result()
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("Refused", False)


async def test_continue_as_new_is_no_failure(raising):
    assert await (await raising("again")).result() == "done"


async def test_cancellation_is_no_failure(raising):
    handle = await raising("wait")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_a_bug_in_a_handler_leaves_the_run_open(client, queue, worker, name):
    async with worker(queue, workflows=[sample_workflows.RaisingHandlerWorkflow]):
        handle = await client.start_workflow(
            sample_workflows.RaisingHandlerWorkflow.run, id=name, task_queue=queue
        )
        await handle.signal(sample_workflows.RaisingHandlerWorkflow.poke)

        async def task_failed() -> bool:
            shown = await handle.describe()
            return shown.raw_description.pending_workflow_task.attempt > 1

        await eventually(task_failed)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


@pytest.mark.parametrize("again", [False, True])
async def test_tenant_and_environment_reach_every_kind_of_task(client, queue, worker, name, again):
    async with worker(
        queue,
        workflows=[sample_workflows.TellingWorkflow, sample_workflows.TellingChildWorkflow],
        activities=[sample_workflows.tell_sync, sample_workflows.tell_async],
    ):
        with tenant_context("acme", "staging"):
            handle = await client.start_workflow(
                sample_workflows.TellingWorkflow.run, again, id=name, task_queue=queue
            )
        assert await handle.result() == ["acme/staging"] * 4
    assert current_tenant() is None


async def test_a_run_started_by_others_has_no_tenant(client, queue, worker, name):
    async with worker(
        queue, workflows=[sample_workflows.TellingChildWorkflow], activities=[sample_workflows.tell_sync]
    ):
        handle = await client.start_workflow(
            sample_workflows.TellingChildWorkflow.run, id=name, task_queue=queue
        )
        assert await handle.result() == "None/None"


def plain(value: str) -> str:
    CALLS.append("run")
    if value == "bad":
        raise ValueError(value)
    return value


async def awaited(value: str) -> str:
    await asyncio.sleep(0)
    return plain(value)


class Called:
    async def __call__(self, value: str) -> str:
        return await awaited(value)


CALLS: list[str] = []


class Innermost(ActivityInboundInterceptor):
    """Stands where the SDK calls the function: async ones are awaited, others run as they are."""

    def __init__(self) -> None:
        self.was_async = False

    async def execute_activity(self, input: ExecuteActivityInput):
        result = input.fn(*input.args)
        self.was_async = asyncio.iscoroutine(result)
        return await result if self.was_async else result


@pytest.mark.parametrize(("fn", "is_async"), [(plain, False), (awaited, True), (Called(), True)])
@pytest.mark.parametrize("value", ["good", "bad"])
async def test_sync_activities_close_stale_connections_before_and_after(monkeypatch, fn, is_async, value):
    CALLS.clear()
    monkeypatch.setattr(database, "close_old_connections", lambda: CALLS.append("close"))
    inner = Innermost()
    made = database.DatabaseInterceptor().intercept_activity(inner)
    work = made.execute_activity(ExecuteActivityInput(fn=fn, args=[value], executor=None, headers={}))
    if value == "bad":
        with pytest.raises(ValueError, match="bad"):
            await work
    else:
        assert await work == "good"
        assert inner.was_async is is_async
    assert (["run"] if is_async else ["close", "run", "close"]) == CALLS


async def test_async_activities_do_not_wait_for_the_one_thread_of_async_queries():
    """One that holds that thread, as a slow query does, must not stop the others."""
    held, free = threading.Event(), threading.Event()

    def slow_query() -> None:
        held.set()
        free.wait(10)

    slow = asyncio.ensure_future(sync_to_async(slow_query)())
    await eventually(held.is_set)
    made = database.DatabaseInterceptor().intercept_activity(Innermost())
    given = ExecuteActivityInput(fn=awaited, args=["good"], executor=None, headers={})
    try:
        assert await asyncio.wait_for(made.execute_activity(given), 2) == "good"
    finally:
        free.set()
        await slow


async def test_async_activities_drop_their_connection_after_a_database_error(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(database, "close_old_connections", lambda: CALLS.append("close"))

    async def failing() -> None:
        raise OperationalError("the connection is closed")

    made = database.DatabaseInterceptor().intercept_activity(Innermost())
    with pytest.raises(OperationalError):
        await made.execute_activity(ExecuteActivityInput(fn=failing, args=[], executor=None, headers={}))
    assert CALLS == ["close"]


SEEN: list[bool] = []


@activity.defn(no_thread_cancel_exception=True)
def ask_database() -> int:
    SEEN.append(connection.connection is not None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return int(cursor.fetchone()[0])


@workflow.defn(name="AskingTwice")
class AskingTwiceWorkflow:
    @workflow.run
    async def run(self) -> int:
        for _ in range(20):
            await workflow.execute_activity("ask_database", start_to_close_timeout=sample_workflows.SHORT)
        return 20


@pytest.mark.django_db(transaction=True)
async def test_no_activity_finds_the_connection_of_one_before_it(client, queue, worker, name):
    SEEN.clear()
    async with worker(queue, workflows=[AskingTwiceWorkflow], activities=[ask_database]):
        assert await client.execute_workflow(AskingTwiceWorkflow.run, id=name, task_queue=queue) == 20
    assert SEEN == [False] * 20
