"""Counts how activities and runs end. Outermost, so that it sees what the others refuse."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from workers import counters
from workers.client.tenants import OTHER_TENANT, REFUSED
from workers.contracts import CIRCUIT_OPEN
from workers.interceptors.failures import end_of
from workers.interceptors.limits import RATE_LIMITED

_REFUSALS = {CIRCUIT_OPEN, OTHER_TENANT, RATE_LIMITED, REFUSED}


running: Counter[str] = Counter()
"""Queue -> activities that are under way in this process, those that wait for their turn among them."""


class MetricsInterceptor(Interceptor):
    """Counts for Prometheus only in a process with metrics; what is under way always."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        return _Inbound if counters.enabled() else None


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info, outcome = activity.info(), "completed"
        running[info.task_queue] += 1
        try:
            return await self.next.execute_activity(input)
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            running[info.task_queue] -= 1
            counters.count("activities", activity_type=info.activity_type, outcome=outcome)


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error):
        return "cancelled"
    kind = error.type if isinstance(error, ApplicationError) else None
    if kind == CIRCUIT_OPEN and isinstance(error, ApplicationError) and error.details:
        counters.count("breaker_refusals", dependency=str(error.details[0]))
    return "refused" if kind in _REFUSALS else "failed"


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        outcome = "completed"
        try:
            return await super().execute_workflow(input)
        except (Exception, asyncio.CancelledError) as error:
            outcome = end_of(error)
            raise
        except BaseException:  # continue-as-new and eviction are no ends
            outcome = ""
            raise
        finally:
            # What is evicted counts as replaying, so nothing is counted twice.
            if outcome and not workflow.unsafe.is_replaying():
                counters.count("workflow_ends", workflow_type=workflow.info().workflow_type, outcome=outcome)
