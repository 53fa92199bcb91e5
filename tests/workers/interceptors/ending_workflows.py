"""A workflow whose one activity ends as it is told, for the tests of what is counted."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError


@activity.defn(name="end", no_thread_cancel_exception=True)
def end(how: str) -> str:
    if how == "completed":
        return how
    raise ApplicationError(how, "payments", type=how, non_retryable=True)


@workflow.defn(name="Ending")
class EndingWorkflow:
    @workflow.run
    async def run(self, how: str) -> str:
        result: str = await workflow.execute_activity(
            "end", how, start_to_close_timeout=timedelta(seconds=10)
        )
        return result
