"""Two builds of one workflow that do not replay each other, and a crowd before a gate."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

SHORT = timedelta(seconds=60)


class Built:
    def __init__(self) -> None:
        self.gone = False

    @workflow.signal
    def go(self) -> None:
        self.gone = True


@workflow.defn(name="Built")
class FirstBuild(Built):
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity("tell_sync", start_to_close_timeout=SHORT)
        await workflow.wait_condition(lambda: self.gone)
        return "gone"


@workflow.defn(name="Built")
class SecondBuild(Built):
    """Waits where the first build called the activity."""

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(3600)
        return "slept"


class Gate:
    """Lets nobody out until it opens, and knows how many were inside at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = self.most = 0
        self._lock = threading.Lock()

    @activity.defn(name="enter", no_thread_cancel_exception=True)
    def enter(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.open.wait(60)
        with self._lock:
            self.inside -= 1


@workflow.defn(name="Crowd")
class CrowdWorkflow:
    @workflow.run
    async def run(self, size: int, seconds: float = 60) -> None:
        limit = timedelta(seconds=seconds)
        enter = [workflow.execute_activity("enter", start_to_close_timeout=limit) for _ in range(size)]
        await asyncio.gather(*enter)


@activity.defn(name="note_locally", no_thread_cancel_exception=True)
def note_locally() -> str:
    return "noted"


@workflow.defn(name="Noting")
class NotingWorkflow:
    """Ends with a local activity, as audited runs do."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_local_activity(
            note_locally,
            schedule_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
