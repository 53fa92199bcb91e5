"""Search attributes: registered once, usable at once, and never of another type unnoticed."""

from __future__ import annotations

import uuid

import pytest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from tests.support import eventually
from workers.client import attributes
from workers.client.attributes import PLATFORM, AttributeMismatch, compare, ensure, missing, registered


@pytest.fixture
async def empty(client) -> Client:
    """A client of a namespace without any of our attributes."""
    name = f"empty-{uuid.uuid4().hex[:8]}"
    request = RegisterNamespaceRequest(namespace=name)
    request.workflow_execution_retention_period.FromSeconds(86_400)
    await client.workflow_service.register_namespace(request)
    made = Client(client.service_client, namespace=name)

    async def known() -> bool:
        try:
            await made.count_workflows("")
        except Exception:
            return False
        return True

    await eventually(known, timeout=30)
    return made


async def test_what_is_missing_is_named_then_registered_then_usable(empty):
    assert await missing(empty, PLATFORM) == sorted(key.name for key in PLATFORM)
    await ensure(empty, PLATFORM)
    assert await missing(empty, PLATFORM) == []
    assert (await empty.count_workflows("Stage = 'charging' AND Deadline IS NULL")).count == 0
    await ensure(empty, PLATFORM)  # again: nothing happens


async def test_another_type_is_refused_naming_all(empty):
    await ensure(empty, [SearchAttributeKey.for_int("Stage"), SearchAttributeKey.for_bool("Deadline")])
    with pytest.raises(AttributeMismatch) as caught:
        await ensure(empty, PLATFORM)
    assert len(caught.value.problems) == 2
    assert "Stage is of type int" in str(caught.value)
    # Nothing was registered on the way to the refusal.
    assert (await registered(empty)).keys() == {"Stage", "Deadline"}


async def test_comparing_changes_nothing(empty):
    assert attributes.STAGE.name in await compare(empty, PLATFORM)
    assert await registered(empty) == {}


async def test_more_than_the_server_has_slots_for_is_told(empty):
    with pytest.raises(AttributeMismatch, match="cannot register"):
        await ensure(empty, [SearchAttributeKey.for_bool(f"Flag{number}") for number in range(4)])


async def test_the_run_of_tests_has_the_attributes_of_all_apps(client):
    assert await missing(client, PLATFORM) == []
