"""The audit of runs: `launch` records their start, and the run itself its end, by a local activity.

A start header switches the end on, so that histories from before replay as they are. The activity is known by
its registered name alone, as the audit belongs to a floor above. It is tried a few times and then given up:
an audit that is away holds up neither the business nor a compensation, and `manage.py auditreconcile` writes
what is missing later. It runs in a task that outlives cancellations, and an evicted run records nothing, as
it has not ended.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from workers import counters
from workers.client.tenancy import TENANT_HEADER, header_text
from workers.contracts.lifecycle import LIFECYCLE_HEADER, RECORD, Event, Lifecycle
from workers.interceptors.failures import end_of
from workers.shielding import run_shielded

_TRIES = RetryPolicy(
    initial_interval=timedelta(seconds=0.2), maximum_interval=timedelta(seconds=1), maximum_attempts=3
)


class LifecycleInterceptor(Interceptor):
    """The worker's side: the end of runs whose start header asks for it."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        if LIFECYCLE_HEADER not in workflow.info().headers:
            return await super().execute_workflow(input)
        try:
            result = await super().execute_workflow(input)
        except (Exception, asyncio.CancelledError) as error:
            if event := end_of(error):
                await run_shielded(_record(Event(event), str(error)[:500]))
            raise
        await run_shielded(_record(Event.COMPLETED))
        return result


async def _record(event: Event, detail: str = "") -> None:
    info = workflow.info()
    record = Lifecycle(
        event=event,
        workflow_id=info.workflow_id,
        run_id=info.first_execution_run_id,
        workflow_type=info.workflow_type,
        tenant=header_text(info.headers, TENANT_HEADER) or "",
        detail=detail,
        at=workflow.now(),
    )
    try:
        await workflow.execute_local_activity(
            RECORD, record, schedule_to_close_timeout=timedelta(seconds=10), retry_policy=_TRIES
        )
    except (FailureError, ValueError) as error:  # ValueError: this worker does not have the activity
        workflow.logger.warning("The end of this run is not in the audit: %s", error)
        counters.count("audit_failures")
