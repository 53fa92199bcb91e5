"""How a breaker reaches the workflows that it holds: found by WaitingFor, woken by `resume`."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from workers.attributes import WAITING_FOR
from workers.contracts import Resume, Signal, WaitingFor

NONE_HELD = "NoneHeld"
SPARE = 5  # the list lags: some that it shows have gone on or are closed


class Wake(BaseModel):
    """Whom to wake: `limit` workflows held at `dependency`; the first with `lease`, when it is to probe."""

    dependency: str
    epoch: int = 0
    limit: int = 1
    lease: str = ""


@activity.defn
async def offer_probe(wake: Wake) -> str:
    """Hand the lease to one held workflow and return its id.

    Raises the retryable NoneHeld, so that waiting for the list to catch up writes no history.
    """
    client = activity.client()
    for workflow_id, run_id in await _held(client, wake.dependency, SPARE):
        # A lease that nobody uses keeps the breaker open for another round, so ask more than the list.
        description = await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        waits = description.typed_search_attributes.get(WAITING_FOR) == _waiting(wake.dependency)
        if waits and await _resume(client, workflow_id, run_id, wake):
            return workflow_id
    raise ApplicationError(f"Nothing is held at {wake.dependency}.", type=NONE_HELD)


@activity.defn
async def release_held(wake: Wake) -> int:
    """Wake up to `limit` held workflows; returns how many heard it."""
    client = activity.client()
    woken = 0
    for workflow_id, run_id in await _held(client, wake.dependency, wake.limit):
        woken += await _resume(client, workflow_id, run_id, wake)
    return woken


async def _held(client: Client, dependency: str, limit: int) -> list[tuple[str, str]]:
    query = f"{WAITING_FOR.name} = '{_waiting(dependency)}' AND ExecutionStatus = 'Running'"
    return [(item.id, item.run_id) async for item in client.list_workflows(query, limit=limit)]


def _waiting(dependency: str) -> str:
    return f"{WaitingFor.BREAKER.value}{dependency}"


async def _resume(client: Client, workflow_id: str, run_id: str, wake: Wake) -> bool:
    body = Resume(dependency=wake.dependency, epoch=wake.epoch, lease=wake.lease or None)
    try:
        await client.get_workflow_handle(workflow_id, run_id=run_id).signal(Signal.RESUME.value, body)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
