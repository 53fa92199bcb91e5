"""The activities that a run asks once: what a name means, which flags are on.

Reading either in workflow code would break its replay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.registry.definitions import ANY, takes_input, workflow_name
from workers.registry.registry import registry

UNKNOWN_ACTIVITY = "UnknownActivity"
UNKNOWN_WORKFLOW = "UnknownWorkflow"


class Names(BaseModel):
    """Activities, or flags, by the names that a workflow asks for."""

    names: list[str]


class Resolved(BaseModel):
    """The activity to call, the queue whose workers run it, and whether it takes an argument."""

    name: str
    queue: str
    takes_input: bool = True

    def arguments(self, value: Any) -> list[Any]:
        """`value` as the arguments of a call; none for an activity that takes none."""
        return [value] if self.takes_input else []


@activity.defn(no_thread_cancel_exception=True)
def resolve_activities(wanted: Names) -> dict[str, Resolved]:
    """Requested name -> what to call for the run's tenant.

    Raises the non-retryable UnknownActivity, with the names that are known: an activity that no worker has
    registered would otherwise be retried for ever.
    """
    from workers.patterns.dynamic.flags import implementations  # models exist only once Django is set up

    switched = implementations(wanted.names)
    queues, functions = registry.activity_queues(), registry.activities()
    unknown = [name for name in dict.fromkeys(wanted.names) if switched.get(name, name) not in queues]
    if unknown:
        described = [
            f"{switched[name]} (set for {name} in the table of tenant activities)"
            if name in switched
            else name
            for name in unknown
        ]
        message = f"No such activity: {', '.join(described)}. Registered: {', '.join(sorted(queues))}."
        raise ApplicationError(message, type=UNKNOWN_ACTIVITY, non_retryable=True)
    return {name: _resolved(switched.get(name, name), queues, functions) for name in wanted.names}


@activity.defn(no_thread_cancel_exception=True)
def resolve_workflows(wanted: Names) -> dict[str, str]:
    """Workflow type -> its queue. Raises the non-retryable UnknownWorkflow, with the types that are known: a
    child of a type that no worker has would wait for ever."""
    types = {workflow_name(cls): queue.name for queue in registry.queues.values() for cls in queue.workflows}
    types.pop(ANY, None)
    unknown = [name for name in dict.fromkeys(wanted.names) if name not in types]
    if unknown:
        message = f"No such workflow: {', '.join(unknown)}. Registered: {', '.join(sorted(types))}."
        raise ApplicationError(message, type=UNKNOWN_WORKFLOW, non_retryable=True)
    return {name: types[name] for name in wanted.names}


@activity.defn(no_thread_cancel_exception=True)
def resolve_flags(wanted: Names) -> dict[str, bool]:
    """Flag -> is it on for the run's tenant. An unknown flag is off."""
    from workers.patterns.dynamic.flags import flags  # models exist only once Django is set up

    return flags(wanted.names)


def _resolved(name: str, queues: dict[str, str], functions: dict[str, Callable[..., Any]]) -> Resolved:
    return Resolved(name=name, queue=queues[name], takes_input=takes_input(functions[name]))
