"""Describe: the exact state of one run, as the server sends it. The SDK's own class raises for a status
that it does not know."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
)
from temporalio.client import Client

from workers.client.errors import BadQuery, RunNotFound, rpc_errors
from workers.conf import conf


async def describe(client: Client, workflow_id: str, run_id: str = "") -> DescribeWorkflowExecutionResponse:
    """One run, by default the newest of its id. Raises RunNotFound (also for ids that cannot be),
    TemporalUnavailable."""
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    )
    try:
        with rpc_errors():
            return await client.workflow_service.describe_workflow_execution(
                request, retry=True, timeout=timedelta(seconds=conf().rpc_timeout)
            )
    except BadQuery as error:
        raise RunNotFound(error.message) from error
