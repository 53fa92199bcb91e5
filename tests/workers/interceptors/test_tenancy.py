"""Whose a run is: three things may name the tenant, and nothing begins where they differ."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.client import WorkflowFailureError
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ExecuteActivityInput

from tests.workers import sample_workflows
from tests.workers.interceptors.test_interceptors import Innermost
from workers.client import tenancy
from workers.client.attributes import ENVIRONMENT_ID, TENANT_ID
from workers.client.tenancy import tenant_context
from workers.client.tenants import PLATFORM_TENANT, REFUSED, disagreement, prefix_of, tenant_of
from workers.conf import conf
from workers.interceptors.tenancy import TenancyInterceptor

SHORT = timedelta(seconds=10)
NAMES = st.none() | st.sampled_from(["acme", "globex", PLATFORM_TENANT])
IDS = st.sampled_from(["order-1", "acme~order-1", "globex~order-1", "a~b~c", "~odd", ""])


@given(NAMES, NAMES, IDS)
def test_work_begins_only_where_all_that_name_a_tenant_agree(header, attribute, workflow_id):
    named = {name for name in (header, attribute, prefix_of(workflow_id)) if name}
    assert (disagreement(header, attribute, workflow_id) is None) == (len(named) < 2)
    assert tenant_of(header, attribute, workflow_id) in (named or {None, ""})


@given(NAMES, IDS, st.sets(st.sampled_from(["acme", "globex"]), min_size=1))
def test_a_list_of_tenants_lets_in_those_and_the_platform(header, workflow_id, allowed):
    if disagreement(header, None, workflow_id) is None:
        tenant = tenant_of(header, None, workflow_id)
        let_in = tenant in allowed or tenant == PLATFORM_TENANT
        assert (disagreement(header, None, workflow_id, allowed) is None) == let_in


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


async def test_a_worker_takes_only_the_tenants_it_is_for(client, queue, worker, settings):
    settings.WORKERS = conf().model_copy(update={"tenants": ("acme",)})
    async with worker(queue, workflows=[sample_workflows.RaisingWorkflow]):

        async def outcome(tenant: str | None) -> str:
            with tenant_context(tenant, None):
                handle = await client.start_workflow(
                    sample_workflows.RaisingWorkflow.run,
                    "done",
                    id=f"run-{uuid.uuid4().hex}",
                    task_queue=queue,
                )
            return await handle.result()

        assert [await outcome("acme"), await outcome(PLATFORM_TENANT)] == ["done", "done"]
        for tenant in ("globex", None):
            with pytest.raises(WorkflowFailureError) as caught:
                await outcome(tenant)
            assert refusal(caught.value).type == REFUSED


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
