"""Sending a decision to a run, and reading the workflow's verdict back.

Signals are durable where updates are not: sent with no worker running, they are kept. A decision is meant for
the chain of runs that was shown: after continue-as-new it follows to the run that is open now, and never to a
later workflow that took the same id.

Signals and cancellations go by the service's own request with the decision's id as request id: the server
drops a second one, so that a call that is sent again, by the SDK's retries or by an impatient person, counts
once also in workflows that do not remember decisions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext

from dashboard.errors import Closed
from dashboard.states import look
from dashboard.temporal_api.answers import interface_of, kind_of, query
from dashboard.temporal_api.describe import describe
from dashboard.temporal_api.rows import attributes_of
from workers.client.attributes import TENANT_ID
from workers.client.errors import NoAnswer, QueryFailed, RunNotFound, TemporalUnavailable, rpc_errors
from workers.conf import conf
from workers.contracts import ApprovalState, ApprovalStatus, Decision, Outcome, Query, Signal, Verdict

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.2  # seconds between two queries for the verdict
INTERFACE_SECONDS = 3.0  # for a worker to say what its workflow takes
UNSETTLED = (Outcome.UNKNOWN, Outcome.PENDING)
REQUESTED = "Cancellation is requested; the workflow decides how it ends."


@dataclass(frozen=True, slots=True)
class ChainRun:
    """One run. `chain` is the run id of the first one of its chain, which stays the same over
    continue-as-new; `tenant` is what its own TenantId says; `ended` is how it ended, empty while it is
    open; `kind` as for `answers.interface_of`."""

    workflow_id: str
    run_id: str
    chain: str
    queue: str
    tenant: str | None
    ended: str
    workflow_type: str
    kind: str
    attributes: Mapping[str, Any]


def _run(described: DescribeWorkflowExecutionResponse) -> ChainRun:
    info = described.workflow_execution_info
    attributes = attributes_of(info.search_attributes.indexed_fields)
    tenant = attributes.get(TENANT_ID.name)
    return ChainRun(
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        # Servers before 1.25 do not tell the first run; then each run is a chain of its own.
        chain=info.first_run_id or info.execution.run_id,
        queue=described.execution_config.task_queue.name,
        tenant=tenant if isinstance(tenant, str) else None,
        ended=look(int(info.status), "status").word if info.HasField("close_time") else "",
        workflow_type=info.type.name,
        kind=kind_of(described),
        attributes=attributes,
    )


async def find_run(client: Client, workflow_id: str, run_id: str) -> ChainRun:
    """A run, by default the newest of its id. Raises RunNotFound, TemporalUnavailable."""
    return _run(await describe(client, workflow_id, run_id))


async def verdict_on(client: Client, run: ChainRun, decision_id: str) -> Verdict:
    """What the workflow, or a later run of its chain, answers now about a decision that was sent. Raises
    RunNotFound, TemporalUnavailable."""
    last = await newest_of_chain(client, run)
    return await _verdict(client, last, decision_id, time.monotonic() + conf().rpc_timeout, once=True)


async def newest_of_chain(client: Client, run: ChainRun) -> ChainRun:
    """The newest run of its chain; the run itself when a later workflow took the same id."""
    newest = await find_run(client, run.workflow_id, "")
    return newest if newest.chain == run.chain else await find_run(client, run.workflow_id, run.run_id)


async def signals_of(client: Client, run: ChainRun) -> frozenset[str] | None:
    """Names of the signals that a workflow says it takes; an empty name stands for any. None: it does not
    say, or no worker answers soon."""
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
    try:
        declared = await interface_of(client, handle, run.kind, run.queue, seconds=INTERFACE_SECONDS)
    except (NoAnswer, RunNotFound, TemporalUnavailable):
        return None
    return declared.signals or None


async def deliver(
    client: Client,
    run: ChainRun,
    signal: str,
    decision: Decision,
    deadline: float,
    gate: AbstractAsyncContextManager[Any],
) -> Verdict:
    """Send a decision to a run, or to the run of its chain that is open now, and wait for the verdict until
    `deadline` (of time.monotonic()). Without a signal, Temporal's own cancellation is requested. `gate` is
    held while it is sent.

    No verdict in time is Outcome.PENDING with a sentence, never an error. Raises Closed where the chain has
    ended and its workflow has no verdict of this very decision, TemporalUnavailable.
    """
    async with gate:
        receiver = await _to_chain(client, run, signal, decision)
    if signal:
        return await _verdict(client, receiver, decision.decision_id, deadline)
    return Verdict(
        decision_id=decision.decision_id, outcome=Outcome.PENDING, detail=REQUESTED, by=decision.actor
    )


async def _to_chain(client: Client, run: ChainRun, signal: str, decision: Decision) -> ChainRun:
    """Send to the run that was shown, else once to the run of the same chain that is open now; the run that
    got it, now or, where the chain is closed, before."""
    with suppress(RunNotFound):
        await _send(client, run, signal, decision)
        return run
    last = await newest_of_chain(client, run)
    if not last.ended:
        with suppress(RunNotFound):  # it closed between the two calls
            await _send(client, last, signal, decision)
            return last
        last = await newest_of_chain(client, run)
    if await _settled(client, last, decision.decision_id):
        return last
    raise Closed(last.ended, await _earlier(client, last, signal))


async def _send(client: Client, run: ChainRun, signal: str, decision: Decision) -> None:
    execution = WorkflowExecution(workflow_id=run.workflow_id, run_id=run.run_id)
    common: dict[str, Any] = {
        "namespace": client.namespace,
        "workflow_execution": execution,
        "identity": client.identity,
        "request_id": decision.decision_id,
    }
    service, timeout = client.workflow_service, timedelta(seconds=conf().rpc_timeout)
    if not signal:
        cancel = RequestCancelWorkflowExecutionRequest(
            **common, first_execution_run_id=run.chain, reason=decision.reason
        )
        with rpc_errors():
            await service.request_cancel_workflow_execution(cancel, retry=True, timeout=timeout)
        return
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run.workflow_id)
    payloads = await client.data_converter.with_context(context).encode([decision])
    message = SignalWorkflowExecutionRequest(**common, signal_name=signal, input=Payloads(payloads=payloads))
    with rpc_errors():
        await service.signal_workflow_execution(message, retry=True, timeout=timeout)


async def query_run(
    client: Client, run: ChainRun, name: str, *arguments: str, seconds: float | None = None
) -> Any:
    """Ask one run a query, see `answers.query`."""
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
    return await query(client, handle, name, args=arguments, queue=run.queue, seconds=seconds)


async def _settled(client: Client, run: ChainRun, decision_id: str) -> bool:
    """Does a closed workflow have the verdict of this decision, got before it closed?"""
    with suppress(ValidationError, NoAnswer, QueryFailed, TemporalUnavailable):
        verdict = Verdict.model_validate(await query_run(client, run, Query.DECISION, decision_id))
        return verdict.outcome not in UNSETTLED
    return False


async def _earlier(client: Client, run: ChainRun, signal: str) -> Verdict | None:
    """Who decided before a workflow closed, for a vote that came too late; after a deadline, no person
    did."""
    if signal not in (Signal.APPROVE, Signal.REJECT):
        return None
    with suppress(ValidationError, NoAnswer, QueryFailed, TemporalUnavailable):
        status = ApprovalStatus.model_validate(await query_run(client, run, Query.APPROVAL))
        by = status.decided_by[-1] if status.decided_by else ""
        if not by and status.votes and status.state in (ApprovalState.APPROVED, ApprovalState.REJECTED):
            by = status.votes[-1].actor
        detail = f"It was {status.state} before."
        return Verdict(outcome=Outcome.ALREADY_DECIDED, detail=detail, by=by, at=status.decided_at)
    return None


async def _verdict(
    client: Client, run: ChainRun, decision_id: str, deadline: float, *, once: bool = False
) -> Verdict:
    """What the workflow answers about a decision that was sent to it, by the deadline or the first time."""
    waiting = (
        f"Sent, not confirmed yet: no worker of {run.queue} answers. It is kept, and the workflow decides on "
        "it once one does."
    )
    pending = Verdict(decision_id=decision_id, outcome=Outcome.PENDING)
    pause = FIRST_PAUSE
    try:
        while (left := deadline - time.monotonic()) > 0:
            answer = await query_run(client, run, Query.DECISION, decision_id, seconds=left)
            verdict = Verdict.model_validate(answer)
            if verdict.outcome not in UNSETTLED:
                return verdict
            if once:
                break
            await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 2, LONGEST_PAUSE)
    except (QueryFailed, ValidationError):
        unconfirmed = "Signal accepted. This workflow does not confirm decisions; watch its status."
        return pending.model_copy(update={"detail": unconfirmed})
    except (NoAnswer, TemporalUnavailable, RunNotFound):
        return pending.model_copy(update={"detail": waiting})
    return pending.model_copy(
        update={"detail": "Sent, not confirmed yet: the workflow has not answered so far."}
    )
