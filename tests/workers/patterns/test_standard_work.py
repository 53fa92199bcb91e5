"""The standard workflow: what is validated, checked, audited and told around one business step."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError

from dashboard.models import AuditEntry
from tests.examples import customers
from tests.examples.models import Customer
from tests.examples.standard_work import CustomerChanged, CustomerWork, CustomerWorkflow, tell_others
from tests.golden import replayer
from tests.support import eventually
from workers.client.launch import LaunchConflict, launch
from workers.client.tenancy import current_tenant, tenant_context
from workers.conf import conf
from workers.patterns.transactions.activities import run_transaction
from workers.registry.queues import PLATFORM
from workers.registry.registry import registry
from workers.testing.swap import swapped

pytestmark = pytest.mark.django_db(transaction=True)
assert customers  # its operations are registered by importing it, as an app's temporal.py does


class Office:
    """A team's queue, and who was told of which record, for which tenant."""

    def __init__(self, client: Client, queue: str, worker: Any) -> None:
        self.client, self.queue, self._worker = client, queue, worker
        self.told: list[tuple[str | None, str]] = []

    def running(self) -> Any:
        return self._worker(
            self.queue, PLATFORM, activities=[tell_others, run_transaction], workflows=WORKFLOWS
        )

    def tell(self, record: dict[str, Any]) -> None:
        self.told.append((current_tenant(), record["number"]))

    async def does(self, operation: Any, number: str = "C-7", *, tenant: str = "acme", **more: Any) -> Handle:
        work = CustomerWork(operation=operation, number=number, **more)
        name = f"customer-{uuid.uuid4().hex}"
        return await launch(CustomerWorkflow, work, id=name, tenant=tenant, client=self.client)

    async def changed(self, handle: Handle) -> None:
        """Wait for the child, which may outlive its parent."""
        await self.client.get_workflow_handle(f"{handle.id}-changed").result()


Handle = WorkflowHandle[Any, Any]
WORKFLOWS = [CustomerWorkflow, CustomerChanged]


@pytest.fixture
def office(client: Client, queue: str, worker: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Office:
    settings.WORKERS = conf().model_copy(update={"lifecycle_audit": True, "tenants": ("acme", "globex")})
    monkeypatch.setattr(registry, "queues", dict(registry.queues))
    registry.add(queue, workflows=WORKFLOWS, activities=[tell_others])
    return Office(client, queue, worker)


async def refusal(handle: Handle) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    cause = caught.value.cause
    error = cause.cause if isinstance(cause, ActivityError) else cause
    assert isinstance(error, ApplicationError)
    return error


@sync_to_async
def names() -> dict[str, str]:
    return dict(Customer.objects.values_list("number", "name"))


@sync_to_async
def audited(handle: Handle) -> list[str]:
    entries = AuditEntry.objects.filter(workflow_id=handle.id, tenant="acme").order_by("pk")
    return list(entries.values_list("action", flat=True))


async def test_create_update_and_delete_with_all_that_belongs_to_them(office: Office) -> None:
    with swapped(tell_others, office.tell):
        async with office.running():
            created = await office.does("create", name="Ada")
            assert await created.result() == {"number": "C-7", "name": "Ada"}
            await (await office.does("update", name="Ada Byron")).result()
            assert await names() == {"C-7": "Ada Byron"}
            deleted = await office.does("delete")
            await deleted.result()
            await office.changed(deleted)
            await replayer(office.client, WORKFLOWS).replay_workflow(await created.fetch_history())
    assert await names() == {}
    assert office.told[-1] == ("acme", "C-7"), "the child works for the tenant of its parent"
    assert await audited(created) == ["run started", "run completed"]


async def test_an_input_that_does_not_fit_never_gets_to_the_business(office: Office) -> None:
    async with office.running():
        name, body = f"customer-{uuid.uuid4().hex}", {"operation": "destroy", "number": "seven"}
        error = await refusal(await launch("CustomerWorkflow", body, id=name, client=office.client))
    assert (error.type, set(error.details[0])) == ("InvalidInput", {"operation", "number"})


async def test_a_tenant_that_is_in_doubt_or_strange_never_gets_to_the_business(office: Office) -> None:
    async with office.running():
        strange = await office.does("create", tenant="initech")
        work = CustomerWork(operation="create", number="C-8")
        with tenant_context("acme", "development"):
            doubt = await office.client.start_workflow(
                CustomerWorkflow.run, work, id=f"globex~{uuid.uuid4().hex}", task_queue=office.queue
            )
        assert (await refusal(doubt)).type == "TenantRefused"

        async def left_to_others() -> bool:
            return (await strange.describe()).raw_description.pending_workflow_task.attempt > 1

        await eventually(left_to_others)
    await strange.terminate()
    assert await names() == {}


async def test_a_refused_step_changes_nothing_and_tells_nobody(office: Office) -> None:
    with swapped(tell_others, office.tell):
        async with office.running():
            error = await refusal(await office.does("update", number="C-9", name="Bob"))
    assert (error.type, office.told) == ("UnknownCustomer", [])


async def test_the_same_work_twice_is_one_run_and_other_work_is_refused(office: Office) -> None:
    work = CustomerWork(operation="create", number="C-7", name="Ada")
    name = f"customer-{uuid.uuid4().hex}"
    async with office.running():
        first = await launch(CustomerWorkflow, work, id=name, client=office.client)
        again = await launch(CustomerWorkflow, work, id=name, client=office.client)
        other = work.model_copy(update={"name": "Bob"})
        with pytest.raises(LaunchConflict):
            await launch(CustomerWorkflow, other, id=name, client=office.client)
        assert await first.result() == await again.result()
        await office.changed(first)
    assert await names() == {"C-7": "Ada"}
