"""How a breaker reaches the workflows that it holds: found by WaitingFor, woken by `resume`."""

from __future__ import annotations

import asyncio
import logging

from pydantic import BaseModel, Field
from temporalio import activity
from temporalio.client import Client, WorkflowExecution
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from workers.client.attributes import WAITING_FOR
from workers.client.connection import has_pollers
from workers.contracts import Resume, Signal, WaitingFor

logger = logging.getLogger(__name__)

NONE_HELD = "NoneHeld"
MOST_LISTED = 10_000
AT_ONCE = 20  # as many are asked and woken side by side


class Wake(BaseModel):
    """Whom to wake: `limit` workflows held at `dependency`; the first with `lease`, when it is to probe.

    `workflow_id`: this one and no other. `avoid`: only when nobody else is held, as they let a lease lapse.
    """

    dependency: str
    epoch: int = 0
    limit: int = 1
    lease: str = ""
    workflow_id: str = ""
    avoid: list[str] = Field(default_factory=list)


@activity.defn
async def offer_probe(wake: Wake) -> str:
    """Hand the lease to one held workflow and return its id.

    Raises the retryable NoneHeld, so that waiting for the list to catch up writes no history.
    """
    client = activity.client()
    for workflow_id in await _candidates(client, wake):
        if await _wake(client, wake, workflow_id):
            return workflow_id
    raise ApplicationError(f"Nothing is held at {wake.dependency}.", type=NONE_HELD)


@activity.defn
async def find_held(wake: Wake) -> str:
    """The id of one held workflow that might probe, or ""."""
    client = activity.client()
    for workflow_id in await _candidates(client, wake):
        if await _waits(client, wake.dependency, workflow_id):
            return workflow_id
    return ""


@activity.defn
async def release_held(wake: Wake) -> int:
    """Wake up to `limit` held workflows, the oldest first; returns how many were held and heard it."""
    client = activity.client()
    held, woken = await _held(client, wake.dependency), 0
    while held and woken < wake.limit:
        size = min(AT_ONCE, wake.limit - woken)
        some, held = held[:size], held[size:]
        woken += sum(await asyncio.gather(*(_wake(client, wake, item.id) for item in some)))
    return woken


async def _held(client: Client, dependency: str) -> list[WorkflowExecution]:
    """Open workflows that the list shows as held, the oldest first: the list has the newest first."""
    query = f"{WAITING_FOR.name} = '{WaitingFor.at_breaker(dependency)}' AND ExecutionStatus = 'Running'"
    return [item async for item in client.list_workflows(query, limit=MOST_LISTED)][::-1]


async def _candidates(client: Client, wake: Wake) -> list[str]:
    if wake.workflow_id:
        return [wake.workflow_id]
    held = await _held(client, wake.dependency)
    alive = {queue: await has_pollers(client, queue) for queue in {item.task_queue for item in held}}
    # A lease for one whose workers are gone costs all others its time.
    held.sort(key=lambda item: (not alive[item.task_queue], item.id in wake.avoid))
    return [item.id for item in held]


async def _waits(client: Client, dependency: str, workflow_id: str) -> bool:
    """Is it held this very moment? The list lags, and a lease that nobody uses costs all others time."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    values = description.typed_search_attributes.get(WAITING_FOR) or []
    return description.close_time is None and WaitingFor.at_breaker(dependency) in values


async def _wake(client: Client, wake: Wake, workflow_id: str) -> bool:
    """Tell a workflow that is held to go on. One that cannot be told must not keep us from the others."""
    body = Resume(dependency=wake.dependency, epoch=wake.epoch, lease=wake.lease or None)
    try:
        if not await _waits(client, wake.dependency, workflow_id):
            return False
        await client.get_workflow_handle(workflow_id).signal(Signal.RESUME.value, body)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            logger.warning("%s cannot be woken, its own timer will: %s", workflow_id, error)
        return False
    return True
