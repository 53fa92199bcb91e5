"""A rate of exchange from a service outside, however long that is away."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.http.activities import call_http
    from workers.patterns.http.messages import QUEUE, HttpCall


@workflow.defn
class ExchangeWorkflow:
    def __init__(self) -> None:
        self.holds = GuardedCalls(retry_seconds=600)

    @workflow.run
    async def run(self, call: HttpCall) -> str:
        answer = await self.holds.call(
            call_http,
            call.model_copy(update={"idempotency_key": workflow.info().workflow_id}),
            task_queue=QUEUE,
            start_to_close_timeout=timedelta(seconds=15),
        )
        return str(answer.body["rate"])

    @workflow.signal
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.holds.resume(raw)
