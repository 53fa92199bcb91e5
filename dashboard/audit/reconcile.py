"""What the audit must hold of launched runs: compared with it, it shows what an outage or a kill left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.client import Client, WorkflowExecution

from workers.client.attributes import TENANT_ID
from workers.client.errors import rpc_errors
from workers.client.launch import AUDIT_MEMO
from workers.contracts.lifecycle import Event, Lifecycle

# A run that continued as new has not ended; its chain has.
ENDS = {
    Status.WORKFLOW_EXECUTION_STATUS_COMPLETED: Event.COMPLETED,
    Status.WORKFLOW_EXECUTION_STATUS_FAILED: Event.FAILED,
    Status.WORKFLOW_EXECUTION_STATUS_CANCELED: Event.CANCELLED,
    Status.WORKFLOW_EXECUTION_STATUS_TERMINATED: Event.TERMINATED,
    Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: Event.TIMED_OUT,
}


async def audited(client: Client, since: datetime) -> AsyncIterator[list[Lifecycle]]:
    """The events that the audit must hold of each launched run that is open, or closed since then.

    Of every run the start, of a closed one the end too. Raises TemporalUnavailable.
    """
    moment = since.isoformat().replace("+00:00", "Z")
    with rpc_errors():
        async for run in client.list_workflows(f"CloseTime >= '{moment}' OR ExecutionStatus = 'Running'"):
            if await run.memo_value(AUDIT_MEMO, False):
                yield await _events(client, run)


async def _events(client: Client, run: WorkflowExecution) -> list[Lifecycle]:
    info = run.raw_info
    first = info.first_run_id or (await _first_run_id(client, run))
    common = {
        "workflow_id": run.id,
        "run_id": first,
        "workflow_type": run.workflow_type,
        "tenant": run.typed_search_attributes.get(TENANT_ID) or "",
    }
    found = [Lifecycle(event=Event.STARTED, at=run.start_time, **common)]
    if end := ENDS.get(info.status):
        found.append(Lifecycle(event=end, at=run.close_time, **common))
    return found


async def _first_run_id(client: Client, run: WorkflowExecution) -> str:
    """Lists do not tell it, describe does."""
    with rpc_errors():
        shown = await client.get_workflow_handle(run.id, run_id=run.run_id).describe()
    return shown.raw_description.workflow_execution_info.first_run_id or run.run_id
