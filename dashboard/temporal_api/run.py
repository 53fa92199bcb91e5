"""One run: described exactly, its history, its pending activities, and what it answers to the queries it
declares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client

from dashboard.access import Subject, Verb, Viewer, authorise, client_for
from dashboard.states import STATES, Look
from dashboard.temporal_api.answers import QueryTarget, RunAnswers, ask, kind_of
from dashboard.temporal_api.budget import Budget
from dashboard.temporal_api.describe import describe
from dashboard.temporal_api.events import reason
from dashboard.temporal_api.failures import decode_failure
from dashboard.temporal_api.history import History, read_history
from dashboard.temporal_api.rows import Row, memo_texts, moment, read_rows, subject_of
from dashboard.temporal_api.senders import Origins

PENDING_SHOWN = 100
MAX_WAIT = 0.3  # seconds that the first paint waits for answers


@dataclass(frozen=True, slots=True)
class Pending:
    """An activity that is not finished. `maximum` 0 means that it is tried for ever; `next_at` is set
    between tries."""

    activity_id: str
    name: str
    tone: str
    state: str
    attempt: int
    maximum: int
    started: datetime | None
    heartbeat: datetime | None
    next_at: datetime | None
    failure: str
    worker: str


@dataclass(frozen=True, slots=True)
class RunPage:
    """Everything that is known of a run. `memo` is text, cut to what a page shows; `answers` holds what it
    answers with their ages; `origins` says which decisions this console sent (None: not known).
    `more_pending`: activities beyond those in `pending`."""

    row: Row
    memo: list[tuple[str, str]]
    subject: Subject
    queue: str
    answers: RunAnswers
    pending: list[Pending]
    more_pending: int
    history: History
    events: int
    size: int
    cancel_requested: bool
    task_attempt: int
    parent: str
    first_run_id: str
    origins: Origins | None = None

    @property
    def open(self) -> bool:
        """It has not ended; a paused run is open."""
        return self.row.open


def _pending(info: PendingActivityInfo) -> Pending:
    shown = STATES["activity"].get(info.state) or Look("rest", f"state {int(info.state)}")
    retrying = info.attempt > 1 and info.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return Pending(
        activity_id=info.activity_id,
        name=info.activity_type.name,
        tone=shown.tone,
        state="paused" if info.paused else "waits to be retried" if retrying else shown.word,
        attempt=info.attempt,
        maximum=info.maximum_attempts,
        started=moment(info.last_started_time),
        heartbeat=moment(info.last_heartbeat_time),
        next_at=moment(info.next_attempt_schedule_time) if retrying else None,
        failure=reason(info.last_failure) if info.HasField("last_failure") else "",
        worker=info.last_worker_identity,
    )


def query_target(row: Row, described: DescribeWorkflowExecutionResponse, queue: str) -> QueryTarget:
    """What is queried of a described run."""
    events = described.workflow_execution_info.history_length
    tenant = subject_of(row).tenant
    return QueryTarget(
        row.workflow_id, row.run_id, queue, kind_of(described), row.waiting_for, events, tenant
    )


async def describe_run(
    client: Client, workflow_id: str, run_id: str
) -> tuple[DescribeWorkflowExecutionResponse, Row]:
    """A run as the server describes it, and its row. Raises RunNotFound, TemporalUnavailable."""
    described = await describe(client, workflow_id, run_id)
    return described, (await read_rows(client, [described.workflow_execution_info]))[0]


async def fetch_run(viewer: Viewer, workflow_id: str, run_id: str) -> RunPage:
    """A run, read now. Raises RunNotFound, TemporalUnavailable, and Hidden for a run of another tenant."""
    client = await client_for(viewer)
    described, row = await describe_run(client, workflow_id, run_id)
    authorise(viewer, Verb.VIEW, subject_of(row))
    queue = described.execution_config.task_queue.name
    info, budget = described.workflow_execution_info, Budget()
    pending = described.pending_activities[:PENDING_SHOWN]
    answers, history = await asyncio.gather(
        ask(client, query_target(row, described, queue), MAX_WAIT),
        read_history(client, workflow_id, run_id, size=info.history_size_bytes, budget=budget),
    )
    for item in pending:
        await decode_failure(client, item.last_failure, budget)
    return RunPage(
        row=row,
        memo=await memo_texts(client, info, budget),
        subject=subject_of(row),
        queue=queue,
        answers=answers,
        pending=[_pending(item) for item in pending],
        more_pending=len(described.pending_activities) - len(pending),
        history=history,
        events=info.history_length,
        size=info.history_size_bytes,
        cancel_requested=described.workflow_extended_info.cancel_requested,
        task_attempt=described.pending_workflow_task.attempt,
        parent=info.parent_execution.workflow_id,
        first_run_id=info.first_run_id,
    )
