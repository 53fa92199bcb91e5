"""The examples of docs/patterns/saga.md, run on the server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client

from tests.examples import distributed_transaction, payout_recovery, trip
from workers.contracts import Money, SagaState, SagaStatus
from workers.patterns.alerts.activities import raise_alert
from workers.patterns.dynamic.activities import resolve_activities
from workers.patterns.saga.messages import SagaResult
from workers.patterns.saga.workflow import SagaWorkflow
from workers.registry.queues import PLATFORM
from workers.registry.registry import registry

pytestmark = pytest.mark.django_db(transaction=True)

FEE = Money(minor=500, currency="EUR")


@pytest.fixture
async def here(queue: str, worker: Any) -> AsyncIterator[str]:
    """The queue of all examples. The platform's is kept for the child of one: others have left work there."""
    own: list[Any] = [
        *distributed_transaction.ACTIVITIES,
        *payout_recovery.ACTIVITIES,
        *trip.ACTIVITIES,
    ]
    registry.load()
    registry.add(queue, activities=own)
    workflows = [SagaWorkflow, trip.TripWorkflow]
    platform = [resolve_activities, raise_alert]
    try:
        everything = {"workflows": workflows, "activities": [*own, *platform]}
        async with worker(queue, **everything), worker(PLATFORM, **everything):
            yield queue
    finally:
        del registry.queues[queue]


async def run(client: Client, queue: str, kind: str, argument: Any, result: type[Any]) -> Any:
    handle = await client.start_workflow(
        kind, argument, id=f"example-{uuid.uuid4().hex}", task_queue=queue, result_type=result
    )
    return handle, await handle.result()


@pytest.mark.parametrize(
    ("owner", "state"), [("ada", SagaState.COMPLETED), ("nobody", SagaState.COMPENSATED)]
)
async def test_a_distributed_transaction_is_done_as_a_whole_or_not_at_all(
    client: Client, here: str, owner: str, state: SagaState
) -> None:
    plan = distributed_transaction.opening(owner, FEE)
    handle, result = await run(client, here, "SagaWorkflow", plan, SagaResult)
    assert result.state is state
    kept = [
        what
        for key, what in distributed_transaction.done.items()
        if key.startswith(handle.first_execution_run_id)
    ]
    letter = f"letter about the account of {owner}"
    whole = state is SagaState.COMPLETED
    assert set(kept) - {letter} == ({f"account of {owner}", "entry"} if whole else set())


@pytest.mark.parametrize(
    ("traveller", "state"), [("ada", SagaState.COMPLETED), ("nobody", SagaState.COMPENSATED)]
)
async def test_a_trip_is_booked_as_a_whole_or_not_at_all(
    client: Client, here: str, traveller: str, state: SagaState
) -> None:
    trip.standing.clear()
    handle, ended = await run(client, here, "TripWorkflow", trip.Trip(traveller=traveller, price=FEE), str)
    assert ended == state
    status = await handle.query("get_saga_status", result_type=SagaStatus)
    names = [step.name for step in status.steps]
    assert names[:4] == ["book_hotel", "book_flight", "insurance", "insure"]
    if state is SagaState.COMPLETED:
        assert sorted(trip.standing.values()) == sorted(trip.BOOKED)
        assert status.exposure == [FEE]
    else:
        assert (trip.standing, status.exposure) == ({}, [])


@pytest.mark.parametrize(("iban", "state"), [("DE1", SagaState.COMPLETED), ("XX", SagaState.COMPENSATED)])
async def test_a_payout_is_made_or_its_funds_are_released(
    client: Client, here: str, iban: str, state: SagaState
) -> None:
    plan = payout_recovery.payout(uuid.uuid4().hex, iban)
    handle, result = await run(client, here, "SagaWorkflow", plan, SagaResult)
    assert result.state is state
    key = f"{handle.first_execution_run_id}/pay_out/1"
    assert (key in payout_recovery.paid, key in payout_recovery.released) == (iban == "DE1", iban == "XX")
