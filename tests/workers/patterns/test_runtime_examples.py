"""The examples of the pages on launching and on interceptors, run on the server."""

from __future__ import annotations

import uuid

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.examples.delivery import Delivery, DeliveryWorkflow, weigh_delivery
from tests.examples.ledger_entry import LedgerWorkflow, write_entry
from workers.client.attributes import STAGE
from workers.client.launch import LaunchConflict, launch
from workers.client.tenancy import tenant_context
from workers.registry.registry import Queue, registry


async def test_a_delivery_is_launched_by_its_input(client, queue, worker, monkeypatch):
    monkeypatch.setitem(registry.queues, queue, Queue(queue, (DeliveryWorkflow,), (weigh_delivery,)))
    delivery = Delivery(number=str(uuid.uuid4().int)[:12], grams=500)
    async with worker(queue):
        handle = await launch(DeliveryWorkflow, delivery)
        again = await launch(DeliveryWorkflow, delivery.model_copy(update={"note": "a second click"}))
        assert await again.result() == await handle.result() == 500
        with pytest.raises(LaunchConflict):
            await launch(DeliveryWorkflow, delivery.model_copy(update={"grams": 501}))
    shown = await handle.describe()
    assert shown.id == f"delivery-{delivery.number}"
    assert shown.typed_search_attributes.get(STAGE) == "received"


async def test_what_surrounds_an_entry(client, queue, worker):
    async with worker(queue, workflows=[LedgerWorkflow], activities=[write_entry]):

        async def run(entry: dict[str, object]) -> str:
            with tenant_context("acme", "production"):
                handle = await client.start_workflow(
                    "LedgerWorkflow", entry, id=f"acme~entry-{uuid.uuid4().hex}", task_queue=queue
                )
            return str(await handle.result())

        assert await run({"account": "a", "minor": 5}) == "acme/a: 5"
        for entry, kind in (
            ({"account": "closed", "minor": 5}, "ValueError"),
            ({"minor": 0}, "InvalidInput"),
        ):
            with pytest.raises(WorkflowFailureError) as caught:
                await run(entry)
            cause = caught.value.cause
            assert isinstance(cause, ApplicationError)
            assert (cause.type, cause.non_retryable) == (kind, True)
