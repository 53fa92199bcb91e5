"""Which activity a name means: asked once a run, as reading it in workflow code would break replay."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.registry import registry

UNKNOWN_ACTIVITY = "UnknownActivity"


class Names(BaseModel):
    """Activities by the names that a workflow asks for."""

    names: list[str]


class Resolved(BaseModel):
    """The activity to call, and the queue whose workers run it."""

    name: str
    queue: str


@activity.defn(name="resolve_activities")
async def resolve_activities(wanted: Names) -> dict[str, Resolved]:
    """Asked name -> what to call. Raises the non-retryable UnknownActivity, with the names that are known.

    An activity that no worker has registered would otherwise be retried for ever.
    """
    known = registry.activity_queues()
    unknown = sorted(set(wanted.names) - known.keys())
    if unknown:
        message = f"No such activity: {', '.join(unknown)}. Registered: {', '.join(sorted(known))}."
        raise ApplicationError(message, type=UNKNOWN_ACTIVITY, non_retryable=True)
    return {name: Resolved(name=name, queue=known[name]) for name in wanted.names}
