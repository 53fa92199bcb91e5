"""The activities that a run calls once, for what a name means and which flags are on; and what the dynamic
queue says to activities that it does not have.

Reading names or flags in workflow code would break its replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from workers.patterns.dynamic.messages import Names, Resolved
from workers.registry.definitions import takes_input
from workers.registry.registry import registry

UNKNOWN_ACTIVITY = "UnknownActivity"


@activity.defn(no_thread_cancel_exception=True)
def resolve_activities(wanted: Names) -> dict[str, Resolved]:
    """Requested name -> what to call for the run's tenant.

    Raises the non-retryable UnknownActivity, with the names that are known: an activity that no worker has
    registered would otherwise be retried for ever.
    """
    from workers.patterns.dynamic.flags import implementations  # models exist only once Django is set up

    switched = implementations(wanted.names)
    chosen = {name: switched.get(name, name) for name in wanted.names}
    queues, functions = registry.activity_queues(), registry.activities()
    unknown = [
        f"{found} (set for {name} in the table of tenant activities)" if name in switched else name
        for name, found in chosen.items()
        if found not in queues
    ]
    if unknown:
        raise _unknown(unknown, queues)
    return {
        name: Resolved(name=found, queue=queues[found], takes_input=takes_input(functions[found]))
        for name, found in chosen.items()
    }


@activity.defn(no_thread_cancel_exception=True)
def resolve_flags(wanted: Names) -> dict[str, bool]:
    """Flag -> is it on for the run's tenant. An unknown flag is off."""
    from workers.patterns.dynamic.flags import flags  # models exist only once Django is set up

    return flags(wanted.names)


@activity.defn(dynamic=True)
async def refuse_unknown(args: Sequence[RawValue]) -> None:
    """Fails for good, and says where the activity runs: without this it would be retried for ever."""
    name, queues = activity.info().activity_type, registry.activity_queues()
    if name not in queues:
        raise _unknown([name], queues)
    message = f"Activity {name} runs on {queues[name]}, not on this queue."
    raise ApplicationError(message, type=UNKNOWN_ACTIVITY, non_retryable=True)


def _unknown(names: Iterable[str], registered: Iterable[str]) -> ApplicationError:
    message = f"No such activity: {', '.join(names)}. Registered: {', '.join(sorted(registered))}."
    return ApplicationError(message, type=UNKNOWN_ACTIVITY, non_retryable=True)
