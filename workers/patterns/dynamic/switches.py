"""What is switched at run time, read by a run: once, by an activity, so that a replay sees what the run saw.

Keep what comes back in the workflow's state and hand it on through continue-as-new: asking again would mean
that half of a run goes one way and half the other.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from workers.patterns.dynamic.activities import resolve_activities, resolve_flags
from workers.patterns.dynamic.messages import Names, Resolved

_LIMIT = timedelta(seconds=10)  # an attempt; retried while the database is away


async def flags_of_run(*names: str) -> dict[str, bool]:
    """Flag -> is it on for the tenant of this run. An unknown flag is off."""
    return await workflow.execute_activity(
        resolve_flags, Names(names=[*names]), start_to_close_timeout=_LIMIT
    )


async def activities_of_run(*names: str) -> dict[str, Resolved]:
    """Requested name -> the activity to call, and its queue, for the tenant of this run; "" is left out.

    Raises ActivityError, caused by the non-retryable UnknownActivity, when one of them is not registered.
    """
    names = tuple(dict.fromkeys(name for name in names if name))
    if not names:
        return {}
    return await workflow.execute_activity(
        resolve_activities, Names(names=[*names]), start_to_close_timeout=_LIMIT
    )


async def activity_of_run(name: str) -> Resolved:
    """As `activities_of_run`, for one. Raises UnknownActivity itself rather than an ActivityError."""
    try:
        return (await activities_of_run(name))[name]
    except ActivityError as error:
        cause = error.cause
        if not isinstance(cause, ApplicationError):
            raise
        raise ApplicationError(cause.message, type=cause.type, non_retryable=True) from error
