"""Launching: right queue, tenant and environment, at most once an id, never without attributes."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributePair

from workers.client import attributes
from workers.client import launch as launching
from workers.client.attributes import ENVIRONMENT_ID, STAGE, TENANT_ID
from workers.client.digest import canonical, digest
from workers.client.launch import INPUT_MEMO, AttributesMissing, LaunchConflict, launch
from workers.client.launchable import launchable
from workers.client.tenants import full_id
from workers.conf import conf
from workers.registry.registry import Queue, RegistryError, registry


@workflow.defn(name="Launched")
class LaunchedWorkflow:
    @workflow.run
    async def run(self, value: str) -> str:
        return value


class Shipment(BaseModel):
    number: str
    grams: int
    checked: bool = False


@launchable(
    id=lambda shipment: f"shipment-{shipment.number}",
    attributes=lambda shipment: [SearchAttributePair(STAGE, "received")],
    memo=lambda shipment: {"grams": shipment.grams},
    summary=lambda shipment: f"Shipment {shipment.number}",
    identity=lambda shipment: shipment.model_dump(exclude={"checked"}),
)
@workflow.defn(name="Declared")
class DeclaredWorkflow:
    @workflow.run
    async def run(self, shipment: Shipment) -> int:
        return shipment.grams


@pytest.fixture
def registered(monkeypatch, queue) -> str:
    monkeypatch.setitem(registry.queues, queue, Queue(queue, (LaunchedWorkflow, DeclaredWorkflow)))
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
    assert (await shown.memo())["customer_name"] == "Ada"
    assert await shown.static_summary() == "An order of Ada"
    async with worker(registered, workflows=[LaunchedWorkflow]):
        assert await handle.result() == "hello"


async def test_the_same_id_is_one_run_open_or_closed(client, registered, worker, name):
    first = await launch(LaunchedWorkflow, "one", id=name)
    again = await launch(LaunchedWorkflow, "one", id=name)
    run_id = (await first.describe()).run_id
    assert (await again.describe()).run_id == run_id
    async with worker(registered, workflows=[LaunchedWorkflow]):
        assert await again.result() == "one"
        late = await launch(LaunchedWorkflow, "one", id=name)
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


async def test_a_declared_workflow_is_launched_by_its_input_alone(client, registered, name):
    shipment = Shipment(number=name, grams=7)
    handle = await launch(DeclaredWorkflow, shipment)
    shown = await handle.describe()
    assert (shown.id, shown.task_queue) == (f"shipment-{name}", registered)
    assert shown.typed_search_attributes.get(STAGE) == "received"
    assert (await shown.memo_value("grams"), await shown.static_summary()) == (7, f"Shipment {name}")
    await handle.terminate()


async def test_what_is_said_at_the_launch_wins(client, registered, name):
    handle = await launch(
        "Declared", Shipment(number=name, grams=7), id=name, attributes=[], memo={}, summary=""
    )
    shown = await handle.describe()
    assert shown.id == name
    assert shown.typed_search_attributes.get(STAGE) is None
    assert set(await shown.memo()) == {INPUT_MEMO}
    assert not await shown.static_summary()
    await handle.terminate()


async def test_another_input_under_the_same_id_is_refused_open_or_closed(client, registered, worker, name):
    shipment = Shipment(number=name, grams=7)
    first = await launch(DeclaredWorkflow, shipment)
    run_id = (await first.describe()).run_id
    same = await launch(DeclaredWorkflow, shipment.model_copy(update={"checked": True}))
    assert (await same.describe()).run_id == run_id
    other = shipment.model_copy(update={"grams": 8})
    with pytest.raises(LaunchConflict, match="another input"):
        await launch(DeclaredWorkflow, other)
    async with worker(registered, workflows=[DeclaredWorkflow]):
        assert await first.result() == 7
    with pytest.raises(LaunchConflict):
        await launch(DeclaredWorkflow, other)
    assert (await (await launch(DeclaredWorkflow, other, any_input=True)).describe()).run_id == run_id


async def test_of_many_launches_at_once_one_starts_and_its_twins_get_it(client, registered, name):
    grams = [7, 8, 7, 8, 7]
    asked = [launch(DeclaredWorkflow, Shipment(number=name, grams=number)) for number in grams]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    handles: dict[int, list[object]] = {number: [] for number in grams}
    for number, answer in zip(grams, answers, strict=True):
        handles[number].append(answer)
    won = 7 if not isinstance(handles[7][0], LaunchConflict) else 8
    assert len({(await handle.describe()).run_id for handle in handles[won]}) == 1
    assert all(isinstance(answer, LaunchConflict) for answer in handles[15 - won])
    await client.get_workflow_handle(f"shipment-{name}").terminate()


async def test_a_workflow_without_a_declared_id_needs_one(client, registered):
    with pytest.raises(ValueError, match="id"):
        await launch(LaunchedWorkflow, "x")


async def test_a_run_that_no_launch_started_is_not_the_same(client, registered, name):
    handle = await client.start_workflow(LaunchedWorkflow.run, "one", id=name, task_queue=registered)
    with pytest.raises(LaunchConflict, match="not started by a launch"):
        await launch(LaunchedWorkflow, "one", id=name)
    await handle.terminate()


@pytest.mark.parametrize("any_input", [False, True])
async def test_a_run_of_another_type_is_not_the_same(client, registered, name, any_input):
    handle = await launch(DeclaredWorkflow, Shipment(number=name, grams=7))
    with pytest.raises(LaunchConflict, match="as a Declared"):
        await launch(LaunchedWorkflow, "x", id=f"shipment-{name}", any_input=any_input)
    await handle.terminate()


class Parcel(BaseModel):
    number: str
    sizes: list[int] = Field(default_factory=list)


class LaterParcel(Parcel):
    fragile: bool = False


@dataclass
class Bag:
    number: str
    seals: list[str] = field(default_factory=list)


def test_a_field_that_a_later_build_adds_makes_no_other_input():
    def same(one: object, other: object) -> bool:
        return digest(one, exclude_defaults=True) == digest(other, exclude_defaults=True)

    assert same({"all": [Parcel(number="1")]}, {"all": [LaterParcel(number="1")]})
    assert same(Parcel(number="1", sizes=[1]), LaterParcel(number="1", sizes=[1], fragile=False))
    assert not same(Parcel(number="1"), LaterParcel(number="1", fragile=True))
    assert not same(Parcel(number="1"), Parcel(number="1", sizes=[1]))
    assert not same(Bag(number="1"), Bag(number="1", seals=["a"]))
    assert same(Bag(number="1"), Bag(number="1", seals=[]))


async def test_tenants_of_a_group_have_queues_of_their_own(client, registered, worker, name, settings):
    """The group's worker polls the queue with the suffix, and what its runs call by queue is there too."""
    groups = {"tenant_queues": {"acme": "gold"}}
    settings.WORKERS = conf().model_copy(update=groups)
    mine = await launch(LaunchedWorkflow, "x", id=name, tenant="acme")
    others = await launch(LaunchedWorkflow, "x", id=name, tenant="globex")
    assert (await mine.describe()).task_queue == f"{registered}-gold"
    assert (await others.describe()).task_queue == registered
    settings.WORKERS = conf().model_copy(update={**groups, "tenants": ("acme",), "queue_suffix": "gold"})
    from workers.process.preflight import choose  # no workflow may import it, and some are in this file

    shared, queue = choose([registered])
    assert shared.name == "breaker-queue"
    assert (queue.name, queue.workflows) == (f"{registered}-gold", registry.queues[registered].workflows)
    async with worker(queue.name, workflows=queue.workflows):
        assert await mine.result() == "x"
    await others.terminate()


def test_one_value_has_one_text_in_every_process():
    value = {
        "set": {"b", "a", "c"},
        "when": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "model": Shipment(number="1", grams=2),
        3: Decimal("1.50"),
        "raw": b"\xff",
    }
    text = canonical(value)
    assert '"set":["a","b","c"]' in text
    assert text.startswith('{"3":"1.50"')
    here = value["when"].astimezone(timezone(timedelta(hours=2)))
    assert digest({**value, "when": here}) == digest(value)
    assert digest({**value, 3: Decimal("1.51")}) != digest(value)
