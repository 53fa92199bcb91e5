"""A workflow that ends as it is told, for the tests of the lifecycle audit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

EXECUTOR = ThreadPoolExecutor(2)


@workflow.defn(name="Living")
class LivingWorkflow:
    def __init__(self) -> None:
        self.gone = False

    @workflow.run
    async def run(self, how: str) -> str:
        if how == "bug":
            raise ValueError("no such life")
        if how == "refuse":
            raise ApplicationError("refused", type="Refused")
        if how == "again":
            workflow.continue_as_new("done")
        if how == "wait":
            await workflow.wait_condition(lambda: self.gone)
            return "went"
        return how

    @workflow.signal
    def go(self) -> None:
        self.gone = True

    @workflow.query
    def asked(self) -> int:
        return 0


@activity.defn(no_thread_cancel_exception=True)
def unused() -> None: ...
