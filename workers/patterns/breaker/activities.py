"""How a breaker reaches the workflows that it holds: found by WaitingFor, woken by `resume`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

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
MAX_LISTED = 10_000
MOST_SUMMED = 1_000
"""Held workflows, the oldest first, whose amounts are added up."""
CONCURRENCY = 20
"""How many workflows are looked at and woken side by side."""


class Wake(BaseModel):
    """Which of the workflows held at `dependency` to wake.

    limit: how many, the oldest first. lease: makes the one that gets it the probe.
    workflow_id: this one only. avoid: only when no other is held, as they did not use a lease.
    """

    dependency: str
    epoch: int = 0
    limit: int = 1
    lease: str = ""
    workflow_id: str = ""
    avoid: list[str] = Field(default_factory=list)


class Offered(BaseModel):
    """holder: the workflow that got the lease. held: how many the list shows as held; None: not counted.
    amount: what they are worth together, in words."""

    holder: str
    held: int | None = None
    amount: str = ""


class Amounts:
    """How the amounts of runs are added up: `in_words` returns their sum as text, "" for none. The console
    sets it, as it knows which attribute of a run is its amount."""

    in_words: Callable[[Sequence[WorkflowExecution]], Awaitable[str]] | None = None


amounts = Amounts()


@activity.defn
async def offer_probe(wake: Wake) -> Offered:
    """Hand the lease to one held workflow.

    Raises the retryable NoneHeld, so that waiting for the list to catch up writes no history.
    """
    client = activity.client()
    held = [] if wake.workflow_id else await _held(client, wake.dependency)
    for workflow_id in [wake.workflow_id] if wake.workflow_id else await _ordered(client, wake, held):
        if await _wake(client, wake, workflow_id):
            if wake.workflow_id:
                return Offered(holder=workflow_id)
            return Offered(holder=workflow_id, held=len(held), amount=await _amount(held))
    raise ApplicationError(f"Nothing is held at {wake.dependency}.", type=NONE_HELD)


@activity.defn
async def find_held(wake: Wake) -> str:
    """The id of one held workflow that might probe, or ""."""
    client = activity.client()
    for workflow_id in await _candidates(client, wake):
        if await _is_held(client, wake.dependency, workflow_id):
            return workflow_id
    return ""


@activity.defn
async def release_held(wake: Wake) -> int:
    """Wake up to `limit` held workflows, the oldest first; returns how many were held and got the signal."""
    client = activity.client()
    held, woken = await _held(client, wake.dependency), 0
    while held and woken < wake.limit:
        size = min(CONCURRENCY, wake.limit - woken)
        some, held = held[:size], held[size:]
        woken += sum(await asyncio.gather(*(_wake(client, wake, item.id) for item in some)))
    return woken


async def _held(client: Client, dependency: str) -> list[WorkflowExecution]:
    """Open workflows that the list shows as held, the oldest first: the list has the newest first."""
    query = f"{WAITING_FOR.name} = '{WaitingFor.at_breaker(dependency)}' AND ExecutionStatus = 'Running'"
    return [item async for item in client.list_workflows(query, limit=MAX_LISTED)][::-1]


async def _amount(held: Sequence[WorkflowExecution]) -> str:
    """What is held, in words. The lease is given by now: nothing may fail this."""
    try:
        return await amounts.in_words(held[:MOST_SUMMED]) if amounts.in_words else ""
    except Exception:
        logger.exception("The amounts of held workflows cannot be added up.")
        return ""


async def _candidates(client: Client, wake: Wake) -> list[str]:
    if wake.workflow_id:
        return [wake.workflow_id]
    return await _ordered(client, wake, await _held(client, wake.dependency))


async def _ordered(client: Client, wake: Wake, held: Sequence[WorkflowExecution]) -> list[str]:
    """Their ids, the likeliest to probe first: a lease for a workflow without workers costs all others its
    time."""
    has_worker = {queue: await has_pollers(client, queue) for queue in {item.task_queue for item in held}}
    ordered = sorted(held, key=lambda item: (not has_worker[item.task_queue], item.id in wake.avoid))
    return [item.id for item in ordered]


async def _is_held(client: Client, dependency: str, workflow_id: str) -> bool:
    """Is it held this very moment? The list lags, and a lease that is not used costs all others time."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    values = description.typed_search_attributes.get(WAITING_FOR) or []
    return description.close_time is None and WaitingFor.at_breaker(dependency) in values


async def _wake(client: Client, wake: Wake, workflow_id: str) -> bool:
    """Signal a held workflow. One that cannot be signalled must not keep the others from being woken."""
    body = Resume(dependency=wake.dependency, epoch=wake.epoch, lease=wake.lease or None)
    try:
        if not await _is_held(client, wake.dependency, workflow_id):
            return False
        await client.get_workflow_handle(workflow_id).signal(Signal.RESUME.value, body)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            logger.warning("%s cannot be woken, its own timer will: %s", workflow_id, error)
        return False
    return True
