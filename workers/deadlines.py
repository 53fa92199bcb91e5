"""How long the current attempt of an activity may still take, for the time-outs of what it calls.

The server gives an attempt up when its start-to-close timeout has passed, and starts another. A call that
blocks beyond that holds a thread for nothing, so every blocking call of an activity ends before it:
`httpx.get(url, timeout=time_left(3.0))`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

ATTEMPT_EXPIRED = "AttemptExpired"
# Kept back so that the outcome still reaches the server in time.
RESERVE_SHARE, RESERVE_SECONDS = 0.2, 5.0


def attempt_deadline(info: activity.Info) -> datetime | None:
    """When the server gives this attempt up (UTC, by the server's clock); None when it never does."""
    ends = [
        since + timeout
        for since, timeout in (
            (info.started_time, info.start_to_close_timeout),
            (info.scheduled_time, info.schedule_to_close_timeout),
        )
        if timeout
    ]
    return min(ends, default=None)


def time_left(longest: float | None = None) -> float:
    """Seconds that a blocking call of the current activity may take.

    longest: an upper bound in seconds, such as the timeout of a service. The result is that, or less where
        the attempt ends earlier: what is left of it, less a reserve of a fifth (5 s at most) to report.
    Outside of activities, and in attempts without a timeout, it is `longest` (or infinity).
    Raises ApplicationError AttemptExpired (retryable) when nothing is left: the server has started another
    attempt or is about to, so this one must not begin a call.
    """
    limit = float("inf") if longest is None else longest
    if not activity.in_activity():
        return limit
    info = activity.info()
    deadline = attempt_deadline(info)
    if deadline is None:
        return limit
    # the server's and this machine's clock may differ: an attempt never began in the future
    started = min(info.started_time, now := datetime.now(UTC))
    reserve = min((deadline - started) * RESERVE_SHARE, timedelta(seconds=RESERVE_SECONDS))
    left = (deadline - reserve - now).total_seconds()
    if left <= 0:
        age = (now - started).total_seconds()
        raise ApplicationError(
            f"Attempt {info.attempt} of {info.activity_type} began {age:.1f} s ago and has no time left: the "
            "worker was slow or paused, or its clock differs from the server's.",
            type=ATTEMPT_EXPIRED,
        )
    return min(limit, left)
