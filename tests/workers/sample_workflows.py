"""Workflows and activities that the tests of interceptors and of runworker run."""

from __future__ import annotations

import time
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.client.tenancy import current_environment, current_tenant

MINUTE = timedelta(seconds=60)
SHORT = timedelta(seconds=10)


@workflow.defn(name="Raising")
class RaisingWorkflow:
    """Ends as it is told."""

    @workflow.run
    async def run(self, how: str) -> str:
        if how == "bug":
            raise ValueError("no such stage")
        if how == "failure":
            raise ApplicationError("refused", type="Refused")
        if how == "again":
            workflow.continue_as_new("done")
        if how == "wait":
            await workflow.wait_condition(lambda: False)
        return how


@workflow.defn(name="RaisingHandler")
class RaisingHandlerWorkflow:
    """Its handler has a bug; the run itself has none."""

    def __init__(self) -> None:
        self.signals = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def poke(self) -> None:
        self.signals += 1
        raise ValueError("bug in a handler")


def told() -> str:
    return f"{current_tenant()}/{current_environment()}"


@activity.defn(name="tell_sync", no_thread_cancel_exception=True)
def tell_sync() -> str:
    return told()


@activity.defn(name="tell_async")
async def tell_async() -> str:
    return told()


@workflow.defn(name="TellingChild")
class TellingChildWorkflow:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(tell_sync, start_to_close_timeout=SHORT)


@workflow.defn(name="Telling")
class TellingWorkflow:
    """Asks in every way for whom it works; `again`: in its next run."""

    @workflow.run
    async def run(self, again: bool) -> list[str]:
        if again:
            workflow.continue_as_new(False)
        return [
            await workflow.execute_activity(tell_sync, start_to_close_timeout=SHORT),
            await workflow.execute_activity(tell_async, start_to_close_timeout=SHORT),
            await workflow.execute_local_activity(tell_sync, start_to_close_timeout=SHORT),
            await workflow.execute_child_workflow(
                TellingChildWorkflow.run, id=f"{workflow.info().workflow_id}-child"
            ),
        ]


@activity.defn(name="nap", no_thread_cancel_exception=True)
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"


@workflow.defn(name="Napping")
class NappingWorkflow:
    @workflow.run
    async def run(self, seconds: float) -> str:
        return await workflow.execute_activity(nap, seconds, start_to_close_timeout=MINUTE)


@workflow.defn(name="Counting")
class CountingWorkflow:
    """Counts the calls that it hears until `end`."""

    def __init__(self) -> None:
        self.heard = 0
        self.ended = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.ended)
        return self.heard

    @workflow.signal
    def call(self) -> None:
        self.heard += 1

    @workflow.signal
    def end(self) -> None:
        self.ended = True


@workflow.defn(name="Calling")
class CallingWorkflow:
    @workflow.run
    async def run(self, target: str) -> None:
        await workflow.get_external_workflow_handle(target).signal("call")


ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(name="Once")
class OnceWorkflow:
    """Its activity is tried once."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(tell_sync, start_to_close_timeout=SHORT, retry_policy=ONCE)


@workflow.defn(name="Patient")
class PatientWorkflow:
    """Waits for `go`, then asks once."""

    def __init__(self) -> None:
        self._state = "waiting"

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self._state == "asking")
        return await workflow.execute_activity(tell_sync, start_to_close_timeout=SHORT, retry_policy=ONCE)

    @workflow.signal
    def go(self) -> None:
        self._state = "asking"

    @workflow.query
    def state(self) -> str:
        return self._state
