"""Whose a run is: three things may name the tenant, and nothing begins where they differ."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ExecuteActivityInput, Worker

from tests.golden import replayer
from tests.support import eventually
from tests.workers import sample_workflows
from tests.workers.interceptors.test_interceptors import Innermost
from workers.client import tenancy
from workers.client.attributes import ENVIRONMENT_ID, TENANT_ID
from workers.client.connection import connect
from workers.client.tenancy import tenant_context
from workers.client.tenants import (
    OTHER_TENANT,
    PLATFORM_TENANT,
    REFUSED,
    not_served,
    prefix_of,
    tenant_conflict,
    tenant_of,
)
from workers.conf import conf
from workers.interceptors.tenancy import TenancyInterceptor
from workers.process.plugins import worker_plugins

SHORT = timedelta(seconds=10)
NAMES = st.none() | st.sampled_from(["acme", "globex", PLATFORM_TENANT])
IDS = st.sampled_from(["order-1", "acme~order-1", "globex~order-1", "a~b~c", "~odd", ""])


@given(NAMES, NAMES, IDS)
def test_work_begins_only_where_all_that_name_a_tenant_agree(header, attribute, workflow_id):
    named = {name for name in (header, attribute, prefix_of(workflow_id)) if name}
    assert (tenant_conflict(header, attribute, workflow_id) is None) == (len(named) < 2)
    assert tenant_of(header, attribute, workflow_id) in (named or {None, ""})


@given(NAMES, IDS, st.sets(st.sampled_from(["acme", "globex"]), min_size=1))
def test_a_list_of_tenants_lets_in_those_and_the_platform(header, workflow_id, allowed):
    tenant = tenant_of(header, None, workflow_id)
    let_in = tenant in allowed or tenant == PLATFORM_TENANT
    assert (not_served(tenant, allowed) is None) == let_in
    assert not_served(tenant, ()) is None


def attributes(tenant: str | None) -> TypedSearchAttributes:
    pairs = [SearchAttributePair(TENANT_ID, tenant)] if tenant else []
    return TypedSearchAttributes([*pairs, SearchAttributePair(ENVIRONMENT_ID, "staging")])


def refusal(error: BaseException) -> ApplicationError:
    cause = error.__cause__
    while isinstance(cause, (ActivityError, ChildWorkflowError)):
        cause = cause.cause
    assert isinstance(cause, ApplicationError), cause
    return cause


@pytest.mark.parametrize(
    ("header", "attribute", "prefix"),
    [
        ("acme", "globex", ""),
        ("acme", None, "globex~"),
        (None, "acme", "globex~"),
        ("acme", "acme", "default~"),
    ],
)
async def test_a_run_whose_tenant_is_in_doubt_is_refused(client, queue, worker, header, attribute, prefix):
    async with worker(queue, workflows=[sample_workflows.RaisingWorkflow]):
        with tenant_context(header, None):
            handle = await client.start_workflow(
                sample_workflows.RaisingWorkflow.run,
                "done",
                id=f"{prefix}run-{uuid.uuid4().hex}",
                task_queue=queue,
                search_attributes=attributes(attribute),
            )
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = refusal(caught.value)
    assert (cause.type, cause.non_retryable) == (REFUSED, True)
    assert "in doubt" in cause.message


def of_tenants(settings: Any, *tenants: str, **more: Any) -> None:
    """Workers that start from now on work for these alone."""
    settings.WORKERS = conf().model_copy(update={"tenants": tenants, **more})


async def started(client: Client, queue: str, tenant: str | None, *args: Any) -> WorkflowHandle[Any, Any]:
    with tenant_context(tenant, None):
        return await client.start_workflow(*args, id=f"run-{uuid.uuid4().hex}", task_queue=queue)


async def test_a_run_of_another_tenant_stays_open_until_its_worker_comes(client, queue, worker, settings):
    run = (sample_workflows.RaisingWorkflow.run, "done")
    of_tenants(settings, "acme")
    async with worker(queue, workflows=[sample_workflows.RaisingWorkflow]):
        for tenant in ("acme", PLATFORM_TENANT):
            assert await (await started(client, queue, tenant, *run)).result() == "done"
        others = [await started(client, queue, tenant, *run) for tenant in ("globex", None)]
        for handle in others:

            async def refused(handle: WorkflowHandle[Any, Any] = handle) -> bool:
                return (await handle.describe()).raw_description.pending_workflow_task.attempt > 1

            await eventually(refused)
            assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    of_tenants(settings)
    async with worker(queue, workflows=[sample_workflows.RaisingWorkflow]):
        assert [await handle.result() for handle in others] == ["done", "done"]


@pytest.mark.timeout(300)  # each refusal doubles the server's pause before it offers the task again
async def test_two_fleets_on_one_queue_fail_nothing_and_cost_no_attempt(
    client, queue, settings, django_db_blocker
):
    """Each activity may be tried once, and either worker may be offered it."""
    async with AsyncExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        threads = stack.enter_context(ThreadPoolExecutor(4))
        for tenant in ("acme", "globex"):
            of_tenants(settings, tenant)
            await stack.enter_async_context(
                Worker(
                    await connect(for_worker=True),  # one client has one worker on a queue
                    task_queue=queue,
                    workflows=[sample_workflows.OnceWorkflow],
                    activities=[sample_workflows.tell_sync],
                    activity_executor=threads,
                    plugins=worker_plugins(),
                    max_cached_workflows=0,  # so that either gets the later tasks too
                )
            )
        runs = [
            await started(client, queue, tenant, sample_workflows.OnceWorkflow.run)
            for tenant in ("acme", "globex") * 2
        ]
        results = [await handle.result() for handle in runs]
    assert results == ["acme/None", "globex/None"] * 2


async def test_an_open_run_outlives_a_shorter_list_and_answers_queries(client, queue, worker, settings):
    """Its activity waits for a worker of its tenant; its code may be replayed anywhere."""
    workflows, activities = [sample_workflows.PatientWorkflow], [sample_workflows.tell_sync]
    of_tenants(settings, "acme", "globex")
    async with worker(queue, workflows=workflows, activities=activities):
        handle = await started(client, queue, "globex", sample_workflows.PatientWorkflow.run)
        assert await handle.query("state") == "waiting"
    of_tenants(settings, "acme")
    async with worker(queue, workflows=workflows, activities=activities):
        assert await handle.query("state") == "waiting"
        await handle.signal("go")

        async def refused() -> bool:
            history = await handle.fetch_history()
            return any(event.HasField("activity_task_failed_event_attributes") for event in history.events)

        await eventually(refused)
        assert await handle.query("state") == "asking"
    of_tenants(settings, "globex")
    async with worker(queue, workflows=workflows, activities=activities):
        assert await handle.result() == "globex/None"
    await replayer(client, workflows).replay_workflow(await handle.fetch_history())


async def test_an_activity_of_no_run_of_ours_is_offered_again_by_the_server():
    environment = ActivityEnvironment()
    made = TenancyInterceptor(("acme",)).intercept_activity(Innermost())
    call = ExecuteActivityInput(fn=sample_workflows.told, args=[], executor=None, headers={})
    with pytest.raises(ApplicationError) as caught:
        await environment.run(made.execute_activity, call)
    assert (caught.value.type, caught.value.non_retryable) == (OTHER_TENANT, False)
    assert caught.value.next_retry_delay


@pytest.mark.parametrize(("header", "let_in"), [("acme", True), (None, True), ("globex", False)])
async def test_an_activity_checks_for_itself(header, let_in):
    environment = ActivityEnvironment()
    environment.info = type(environment.info)(**{**vars(environment.info), "workflow_id": "acme~order-1"})
    headers = tenancy.encoded({tenancy.TENANT_HEADER: header})
    made = TenancyInterceptor().intercept_activity(Innermost())

    async def attempt() -> object:
        return await made.execute_activity(
            ExecuteActivityInput(fn=sample_workflows.told, args=[], executor=None, headers=headers)
        )

    if let_in:
        assert await environment.run(attempt) == f"{header}/None"
    else:
        with pytest.raises(ApplicationError, match="in doubt") as caught:
            await environment.run(attempt)
        assert caught.value.type == REFUSED


async def test_a_child_has_tenant_and_environment_as_attributes(client, queue, worker):
    workflow_id = f"acme~run-{uuid.uuid4().hex}"
    async with worker(
        queue,
        workflows=[sample_workflows.TellingWorkflow, sample_workflows.TellingChildWorkflow],
        activities=[sample_workflows.tell_sync, sample_workflows.tell_async],
    ):
        # Started by somebody who sends no headers: the attributes alone say whose it is.
        handle = await client.start_workflow(
            sample_workflows.TellingWorkflow.run,
            False,
            id=workflow_id,
            task_queue=queue,
            search_attributes=attributes("acme"),
        )
        assert await handle.result() == ["acme/staging"] * 4
    child = await client.get_workflow_handle(f"{workflow_id}-child").describe()
    found = child.typed_search_attributes
    assert (found.get(TENANT_ID), found.get(ENVIRONMENT_ID)) == ("acme", "staging")


@pytest.mark.parametrize(
    ("sender", "receiver", "heard"),
    [("acme", "acme", 1), ("globex", "acme", 0), ("default", "acme", 1), ("acme", "default", 1)],
)
async def test_a_signal_of_another_tenants_run_is_refused(client, queue, worker, sender, receiver, heard):
    async with worker(queue, workflows=[sample_workflows.CallingWorkflow, sample_workflows.CountingWorkflow]):
        with tenant_context(receiver, None):
            target = await client.start_workflow(
                sample_workflows.CountingWorkflow.run, id=f"run-{uuid.uuid4().hex}", task_queue=queue
            )
        with tenant_context(sender, None):
            await client.execute_workflow(
                sample_workflows.CallingWorkflow.run,
                target.id,
                id=f"run-{uuid.uuid4().hex}",
                task_queue=queue,
            )
        await target.signal("end")  # people and other systems send no header; it comes after the other
        assert await target.result() == heard
