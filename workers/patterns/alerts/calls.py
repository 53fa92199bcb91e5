"""Alerts: how a workflow calls for a person, without ever waiting for the call.

The activity `raise_alert` (activities.py) runs on every queue, so on the workflow's own, and is tried until
the receiver takes the alert: what called for it goes on waiting for a person all the same.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from workers.contracts.alerts import RAISE_ALERT, Alert

_ONE_TRY = timedelta(seconds=15)


class Alerts:
    """The alerts of one workflow. They run beside it; their tasks are kept, as a loop holds tasks weakly."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def delivering(self) -> bool:
        """An alert is under way. It ends with the run, so continue-as-new should wait for it."""
        return any(not task.done() for task in self._tasks)

    def raise_soon(self, alert_id: str, title: str, *, detail: str = "", step: str = "") -> None:
        """Start the activity and return at once."""
        info = workflow.info()
        alert = Alert(
            alert_id=alert_id,
            title=title,
            detail=detail,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            workflow_type=info.workflow_type,
            step=step,
            at=workflow.now(),
        )
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(_raised(alert)))


async def _raised(alert: Alert) -> None:
    try:
        await workflow.execute_activity(
            RAISE_ALERT,
            alert,
            summary=alert.title[:200],
            start_to_close_timeout=_ONE_TRY,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
        )
    except ActivityError as error:
        workflow.logger.error("The alert %s could not be raised: %s", alert.alert_id, error.cause)
