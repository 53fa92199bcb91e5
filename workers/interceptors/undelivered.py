"""Activities that a worker could not take: it lacks a key, or it does not work for that tenant.

Such a failure says nothing about the business: no code of the activity ran. It is kept from the workflow, and
the activity is scheduled again after a durable pause, with all its attempts, so that another worker takes it,
or this one after its repair. Pauses grow from a second to an hour. After an hour an alert is raised and
WaitingFor says `operator`; after a day the failure goes to the workflow. That bounds the history: less than
450 events for an activity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from workers.client.tenants import OTHER_TENANT
from workers.contracts import WaitingFor
from workers.contracts.alerts import RAISE_ALERT, Alert
from workers.interceptors.waiting_for import add_platform_wait, remove_platform_wait
from workers.payloads.errors import UNREADABLE

LONGEST_PAUSE = timedelta(hours=1)
ALERT_AFTER = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=1)


def undelivered(error: BaseException | None) -> ApplicationError | None:
    """The error of the worker that could not take the activity; None when the activity itself failed."""
    cause = error.cause if isinstance(error, ActivityError) else None
    if not isinstance(cause, ApplicationError) or not cause.non_retryable:
        return None
    return cause if cause.type in UNREADABLE or cause.type == OTHER_TENANT else None


class DeliveredActivity(asyncio.Future[Any]):
    """The activity's outcome, whichever of the schedulings has it. Cancelled like the SDK's own handle: that
    asks the activity to end, and the handle ends with it."""

    def __init__(self, start: Callable[[], workflow.ActivityHandle[Any]], activity: str) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._start = start
        self._activity = activity
        self._began: datetime | None = None
        self._pauses = 0
        self._cancelled = False
        self._waits_for_operator = False
        self._pause: asyncio.Task[None] | None = None
        self._follow(start())

    def cancel(self, msg: Any = None) -> bool:
        self._cancelled = True
        if self._pause is None:
            return self._handle.cancel(msg)
        self._pause.cancel()
        self._end()
        return super().cancel(msg)

    def _follow(self, handle: workflow.ActivityHandle[Any]) -> None:
        self._handle = handle
        handle.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self.done():
            return
        if task.cancelled():
            super().cancel()
            return
        error = task.exception()
        cause = undelivered(error)
        if cause is not None and self._again(cause):
            return
        self._end()
        if error is None:
            self.set_result(task.result())
        else:
            self.set_exception(error)

    def _again(self, cause: ApplicationError) -> bool:
        """Schedule it once more, unless that was tried for long enough or the workflow wants it no more."""
        now = workflow.now()
        self._began = self._began or now
        if self._cancelled or now - self._began >= GIVE_UP_AFTER:
            return False
        if now - self._began >= ALERT_AFTER and not self._waits_for_operator:
            self._waits_for_operator = True
            add_platform_wait(WaitingFor.OPERATOR.value)
            _alert(self._activity, cause)
        pause = min(timedelta(seconds=2 ** min(self._pauses, 20)), LONGEST_PAUSE)
        self._pauses += 1
        self._pause = asyncio.create_task(self._reschedule(pause))
        return True

    async def _reschedule(self, pause: timedelta) -> None:
        await workflow.sleep(pause, summary=f"no worker took {self._activity}")
        self._pause = None
        self._follow(self._start())

    def _end(self) -> None:
        if self._waits_for_operator:
            self._waits_for_operator = False
            remove_platform_wait(WaitingFor.OPERATOR.value)


def _alert(activity: str, cause: ApplicationError) -> None:
    """Raised beside the run, which does not wait for it. It may meet the same fault: the log says it too."""
    info = workflow.info()
    workflow.logger.error("No worker could take the activity %s: %s", activity, cause.message)
    alert = Alert(
        alert_id=f"{info.run_id}/undelivered/{activity}",
        title=f"No worker can take the activity {activity}",
        detail=cause.message,
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        workflow_type=info.workflow_type,
        at=workflow.now(),
    )
    raised = workflow.start_activity(
        RAISE_ALERT,
        alert,
        summary=alert.title[:200],
        start_to_close_timeout=timedelta(seconds=15),
        retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
    )
    # An alert that cannot be raised is in the log, and no unretrieved exception besides.
    raised.add_done_callback(lambda task: None if task.cancelled() else task.exception())
