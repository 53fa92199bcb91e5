"""Effects: the one activity that follows an event, found by name, under a key that stays the same.

Names are resolved once, by an activity, and kept: an unknown one fails there, with the known ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from workers.patterns.dynamic.resolve import Resolved
from workers.patterns.dynamic.switches import activities_of_run
from workers.patterns.events.fold import Recorded


class Effect(BaseModel):
    """The argument of an effect's activity. `idempotency_key`: `<workflow id>/<event id>`, the same in every
    try and in every run of the chain; what the activity does must be done once for it."""

    idempotency_key: str
    workflow_id: str
    event_id: str
    type: str
    payload: dict[str, Any] = Field(default_factory=dict)


async def resolve(names: Iterable[str]) -> dict[str, Resolved]:
    """Asked name -> what to call; "" is nobody. Raises ActivityError for a name that nobody registered."""
    wanted = sorted({name for name in names if name})
    return await activities_of_run(*wanted) if wanted else {}


async def perform(
    event: Recorded,
    target: Resolved,
    *,
    seconds: float,
    attempts: int,
    stop: Callable[[], bool],
    type: str = "",
) -> str | None:
    """Run the effect of an event. Returns "" when it is done, else the error for which it failed for good.

    None: `stop` became true first. Whether it happened is open then, so it is run again under the same key.
    """
    effect = _effect(event, type or event.type)
    running = workflow.start_activity(
        target.name,
        args=[effect] if target.takes_input else [],
        task_queue=target.queue,
        summary=f"{effect.type} {event.event_id}"[:200],
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=attempts),
    )
    await workflow.wait_condition(lambda: running.done() or stop())
    if not running.done():
        running.cancel()
        return None
    try:
        await running
    except ActivityError as error:
        return str(error.cause or error)
    return ""


def _effect(event: Recorded, type: str) -> Effect:
    workflow_id = workflow.info().workflow_id
    return Effect(
        idempotency_key=f"{workflow_id}/{event.event_id}",
        workflow_id=workflow_id,
        event_id=event.event_id,
        type=type,
        payload=event.body,
    )
