"""Which attempts of activities are under way in this process. Outermost, so that waiting ones count too.

An attempt of a sync activity is under way until its function returns: the server may have given it up long
before, and started another. Health tells of such attempts, and a drain that does not end names them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from workers.deadlines import attempt_deadline

_running: dict[bytes, activity.Info] = {}


class AttemptsInterceptor(Interceptor):
    """Keeps the list that `running()` and `overdue()` read."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        _running[info.task_token] = info
        try:
            return await super().execute_activity(input)
        finally:
            del _running[info.task_token]


def running(queue: str | None = None) -> list[activity.Info]:
    """The attempts under way on `queue` (None: on all), local activities too. Any thread may ask."""
    return [info for info in list(_running.values()) if queue in (None, info.task_queue)]


def overdue(queue: str) -> list[activity.Info]:
    """Those of `queue` that hold a slot although the server has given them up."""
    now = datetime.now(UTC)
    return [
        info
        for info in running(queue)
        if not info.is_local and (deadline := attempt_deadline(info)) and deadline < now
    ]


def named(infos: list[activity.Info], most: int = 5) -> str:
    """For people: `charge_payment of order-1 (attempt 2), ... and 3 more`."""
    names = [f"{info.activity_type} of {info.workflow_id} (attempt {info.attempt})" for info in infos[:most]]
    more = f" and {len(infos) - most} more" if len(infos) > most else ""
    return ", ".join(names) + more
