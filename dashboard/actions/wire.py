"""The calls to Temporal that acts are made of, each with a deadline and with our own errors.

Signals and cancellations go by the service's own request with the decision's id as request id: the server
drops a second one, so that a call that is sent again, by the SDK's retries or by an impatient person, acts
once also in workflows that do not remember decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.converter import WorkflowSerializationContext

from dashboard.states import STATES
from workers.client.connection import has_pollers
from workers.client.errors import NoAnswer, QueryFailed, TemporalUnavailable, rpc_errors
from workers.conf import conf
from workers.contracts import Decision, Signal
from workers.payloads.redaction import redact
from workers.registry.registry import RegistryError, registry

OPEN = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING


@dataclass(frozen=True, slots=True)
class Run:
    """One run; `chain` is the run id of the first one of its chain, which stays the same over
    continue-as-new."""

    workflow_id: str
    run_id: str
    chain: str


def _patience() -> timedelta:
    return timedelta(seconds=conf().rpc_timeout)


async def describe(client: Client, workflow_id: str, run_id: str) -> WorkflowExecutionDescription:
    """Raises RunNotFound, TemporalUnavailable. An empty run id means the newest run."""
    with rpc_errors():
        handle = client.get_workflow_handle(workflow_id, run_id=run_id or None)
        return await handle.describe(rpc_timeout=_patience())


def chain_of(description: WorkflowExecutionDescription) -> str:
    """First run id of the chain; servers before 1.25 do not tell it, then a run is a chain of its own."""
    return description.raw_description.workflow_execution_info.first_run_id or description.run_id


@dataclass(frozen=True, slots=True)
class Last:
    """Where a chain stands: its last run, whether that is open, and its status as a word."""

    run: Run
    open: bool
    word: str


async def last_of_chain(client: Client, shown: Run) -> Last:
    """The newest run of the chain of `shown`; `shown` itself when a later workflow took the same id."""
    description = await describe(client, shown.workflow_id, "")
    if chain_of(description) != shown.chain:
        description = await describe(client, shown.workflow_id, shown.run_id)
    status = description.raw_description.workflow_execution_info.status
    run = Run(shown.workflow_id, description.run_id, shown.chain)
    look = STATES["status"].get(int(status))
    return Last(run, status == OPEN, look.word if look else f"Status {status}")


async def signal(client: Client, run: Run, name: Signal, decision: Decision) -> None:
    """Raises RunNotFound when the run is closed."""
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run.workflow_id)
    payloads = await client.data_converter.with_context(context).encode([decision])
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=run.workflow_id, run_id=run.run_id),
        signal_name=name.value,
        input=Payloads(payloads=payloads),
        identity=client.identity,
        request_id=decision.decision_id,
    )
    with rpc_errors():
        await client.workflow_service.signal_workflow_execution(request, retry=True, timeout=_patience())


async def request_cancel(client: Client, run: Run, decision: Decision) -> None:
    """Temporal's own cancellation, for workflows without the signal. Raises RunNotFound when the run is
    closed."""
    request = RequestCancelWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=run.workflow_id, run_id=run.run_id),
        first_execution_run_id=run.chain,
        reason=decision.reason,
        identity=client.identity,
        request_id=decision.decision_id,
    )
    with rpc_errors():
        await client.workflow_service.request_cancel_workflow_execution(
            request, retry=True, timeout=_patience()
        )


async def query(client: Client, run: Run, name: str, seconds: float, *arguments: str) -> Any:
    """The plain JSON answer, redacted: it goes to the page and the audit.

    Raises NoAnswer, QueryFailed, RunNotFound, TemporalUnavailable.
    """
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
    with rpc_errors():
        answer = await handle.query(name, args=arguments, rpc_timeout=timedelta(seconds=max(seconds, 0.01)))
    return redact(answer)


async def takes_signal(client: Client, run: Run, workflow_type: str, queue: str, name: Signal) -> bool:
    """Whether the workflow has a handler for the signal, by its own metadata. While no worker can be asked,
    types of the registry count as having the contracts, and others as not."""
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
    try:
        if await has_pollers(client, queue):
            with rpc_errors():
                metadata = await handle.query(
                    "__temporal_workflow_metadata", result_type=WorkflowMetadata, rpc_timeout=_patience()
                )
            return any(item.name == name.value for item in metadata.definition.signal_definitions)
    except (NoAnswer, QueryFailed, TemporalUnavailable):
        pass
    try:
        return bool(registry.queue_of(workflow_type))
    except RegistryError:
        return False
