"""A rate of exchange from a service outside, however long that is away."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.patterns.handlers import HoldHandlers
    from workers.patterns.http.activities import call_http
    from workers.patterns.http.messages import QUEUE, HttpCall


@workflow.defn
class ExchangeWorkflow(HoldHandlers):
    def __init__(self) -> None:
        super().__init__(held_retry=timedelta(minutes=10))

    @workflow.run
    async def run(self, call: HttpCall) -> str:
        answer = await self.calls.call(
            call_http,
            call.model_copy(update={"idempotency_key": workflow.info().workflow_id}),
            task_queue=QUEUE,
            start_to_close_timeout=timedelta(seconds=15),
        )
        return str(answer.body["rate"])
