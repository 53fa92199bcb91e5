"""Launching: right queue, tenant and environment, at most once an id, never without attributes."""

from __future__ import annotations

import uuid

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributePair

from workers import attributes
from workers import launch as launching
from workers.attributes import ENVIRONMENT_ID, STAGE, TENANT_ID
from workers.launch import AttributesMissing, launch
from workers.registry import Queue, RegistryError, registry
from workers.tenants import full_id


@workflow.defn(name="Launched")
class LaunchedWorkflow:
    @workflow.run
    async def run(self, value: str) -> str:
        return value


@pytest.fixture
def registered(monkeypatch, queue) -> str:
    monkeypatch.setitem(registry.queues, queue, Queue(queue, (LaunchedWorkflow,)))
    return queue


@pytest.fixture
def name() -> str:
    return f"launch-{uuid.uuid4().hex}"


async def test_it_runs_with_tenant_environment_memo_and_summary(client, registered, worker, name):
    handle = await launch(
        LaunchedWorkflow,
        "hello",
        id=name,
        attributes=[SearchAttributePair(STAGE, "received")],
        memo={"customer_name": "Ada"},
        summary="An order of Ada",
    )
    shown = await handle.describe()
    assert (shown.id, shown.task_queue) == (name, registered)
    found = shown.typed_search_attributes
    assert (found.get(TENANT_ID), found.get(ENVIRONMENT_ID), found.get(STAGE)) == (
        "default",
        "development",
        "received",
    )
    assert await shown.memo() == {"customer_name": "Ada"}
    assert await shown.static_summary() == "An order of Ada"
    async with worker(registered, workflows=[LaunchedWorkflow]):
        assert await handle.result() == "hello"


async def test_the_same_id_is_one_run_open_or_closed(client, registered, worker, name):
    first = await launch(LaunchedWorkflow, "one", id=name)
    again = await launch(LaunchedWorkflow, "two", id=name)
    run_id = (await first.describe()).run_id
    assert (await again.describe()).run_id == run_id
    async with worker(registered, workflows=[LaunchedWorkflow]):
        assert await again.result() == "one"
        late = await launch(LaunchedWorkflow, "three", id=name)
        assert (await late.describe()).run_id == run_id
        assert await late.result() == "one"


async def test_another_tenants_id_says_so(client, registered, name):
    handle = await launch("Launched", "x", id=name, tenant="acme")
    assert handle.id == f"acme~{name}"
    assert (await handle.describe()).typed_search_attributes.get(TENANT_ID) == "acme"
    await handle.terminate()


@pytest.mark.parametrize(("own", "tenant"), [("a~b", "default"), ("a", "b~c"), ("", "default")])
async def test_ids_that_could_be_taken_for_anothers_are_refused(registered, own, tenant):
    with pytest.raises(ValueError, match="~"):
        full_id(own, tenant)
    with pytest.raises(ValueError, match="~"):
        await launch(LaunchedWorkflow, "x", id=own, tenant=tenant)


async def test_nothing_starts_where_attributes_are_missing(client, registered, name, monkeypatch):
    async def all_missing(client, keys):
        return sorted(key.name for key in keys)

    bare = Client(client.service_client, namespace=client.namespace)
    monkeypatch.setattr(attributes, "missing", all_missing)
    with pytest.raises(AttributesMissing) as caught:
        await launch(LaunchedWorkflow, "x", id=name, client=bare)
    assert "TenantId" in caught.value.names
    assert bare not in launching._seen or not launching._seen[bare]


async def test_a_workflow_without_a_queue_is_refused(client, name):
    with pytest.raises(RegistryError, match="Launched"):
        await launch(LaunchedWorkflow, "x", id=name)
