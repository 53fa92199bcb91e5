"""Approvals: all runs that wait for one, the soonest deadline first, and what is known of the chosen one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.client import Client

from dashboard import extend
from dashboard.access import Viewer, client_for, for_viewer
from dashboard.actions import offers
from dashboard.actions.offers import OfferedForm
from dashboard.audit.origins import origins_of
from dashboard.extend import Target
from dashboard.live.cached_read import MAX_WAIT, Snapshot, cached_read, set_badges
from dashboard.pages.breakers import read as breakers
from dashboard.pages.breakers.read import Breaker
from dashboard.panels import approval
from dashboard.panels.approval import ApprovalView
from dashboard.query.query import Filter, Term, list_url, with_scope
from dashboard.states import STATUS_NAMES
from dashboard.temporal_api.answers import query
from dashboard.temporal_api.history import read_history
from dashboard.temporal_api.lists import count, list_rows
from dashboard.temporal_api.rows import Row, subject_of
from dashboard.temporal_api.scan import Total
from dashboard.temporal_api.senders import Origins
from workers.client.attributes import DEADLINE, WAITING_FOR
from workers.client.errors import BadQuery, NoAnswer, QueryFailed, RunNotFound
from workers.client.visibility import OPEN_RUNS, both, quote
from workers.contracts import (
    ApprovalStatus,
    Contract,
    Delegation,
    Query,
    SagaStatus,
    StepState,
    StepStatus,
    Vote,
    WaitingFor,
)

C = TypeVar("C", bound=Contract)

MOST = 2000
SHOWN = 100
CLAUSE = both(OPEN_RUNS, f"{WAITING_FOR.name} = '{WaitingFor.APPROVAL}'")
# Where more wait than are listed: the widest of these times until the deadline whose runs are all listed.
WINDOWS = (timedelta(days=1), timedelta(hours=4), timedelta(hours=1), timedelta(minutes=15))
WAITING = Filter(status=STATUS_NAMES[1], terms=(Term(WAITING_FOR.name, "=", WaitingFor.APPROVAL),))
SOON_SECONDS = 15 * 60
FAR = datetime.max.replace(tzinfo=UTC)
# These did, or may have done, something that a reject has to undo.
DID = (StepState.DONE, StepState.RUNNING, StepState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Item:
    """One that waits: its row, with how urgent it is."""

    row: Row

    @property
    def tone(self) -> str:
        """Red in the last quarter of an hour and after it."""
        if self.row.deadline is None:
            return "rest"
        return "stop" if (self.row.deadline - datetime.now(UTC)).total_seconds() < SOON_SECONDS else "wait"

    @property
    def left(self) -> float | None:
        """How much of the time from the start to the deadline is left, in percent."""
        if self.row.deadline is None or self.row.start_time is None:
            return None
        whole = (self.row.deadline - self.row.start_time).total_seconds()
        left = (self.row.deadline - datetime.now(UTC)).total_seconds()
        return max(0.0, min(100.0, 100 * left / whole)) if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Inbox:
    """What waits, the soonest deadline first: all of them, or, where there are more than 2,000, those whose
    deadline is near. `total` counts all."""

    items: list[Item]
    total: Total

    def shown(self, chosen: Item | None) -> list[Item]:
        """As many as a page has room for, and the chosen one."""
        first = self.items[:SHOWN]
        return [*first, chosen] if chosen and chosen not in first else first

    def find(self, workflow_id: str) -> Item | None:
        """The item of this workflow; the first one when none is named."""
        if not workflow_id:
            return self.items[0] if self.items else None
        return next((item for item in self.items if item.row.workflow_id == workflow_id), None)

    def after(self, item: Item | None) -> Item | None:
        """The next one, for the key that goes on to it."""
        at = self.items.index(item) + 1 if item in self.items else len(self.items)
        return self.items[at] if at < len(self.items) else None


@dataclass(frozen=True, slots=True)
class Ahead:
    """A stage that follows once it is approved, and the breaker before it when that does not pass calls."""

    label: str
    breaker: Breaker | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the workflow says about the approval, and what each answer leads to: stages that follow, and steps
    that are compensated (None: not known), the last one first. `origins`: which votes this console sent."""

    item: Item
    approval: Snapshot[ApprovalStatus]
    ahead: list[Ahead]
    undone: list[StepStatus] | None
    origins: Origins | None

    @property
    def view(self) -> ApprovalView | None:
        """The approval as its panel shows it."""
        return approval.draw(self.approval.value, self.origins) if self.approval.value else None


async def _inbox(viewer: Viewer) -> Inbox:
    client, clause = await client_for(viewer), CLAUSE
    try:
        rows, complete = await list_rows(client, with_scope(for_viewer(viewer), clause), MOST)
    except BadQuery:  # a foreign server without the attribute: nothing there waits for an approval
        rows, complete = [], True
    total = Total(list_url(viewer.namespace, WAITING))
    if complete:
        for row in rows:
            total = total.plus(row)
    else:
        total = replace(total, count=await count(client, with_scope(for_viewer(viewer), clause)))
        rows = await _soonest(client, viewer, clause)
    ordered = sorted(rows, key=lambda row: (row.deadline or FAR, row.workflow_id))
    set_badges(viewer, approvals=total.count)
    return Inbox([Item(row) for row in ordered], total)


async def _soonest(client: Client, viewer: Viewer, clause: str) -> list[Row]:
    """Those with the soonest deadlines, as lists have no order but that of their starts."""
    rows, now = list[Row](), datetime.now(UTC)
    for window in WINDOWS:
        due = f"{DEADLINE.name} < {quote((now + window).isoformat())}"
        rows, complete = await list_rows(client, with_scope(for_viewer(viewer), both(clause, due)), MOST)
        if complete:
            break
    return rows


async def find(viewer: Viewer, inbox: Inbox, workflow_id: str) -> Item | None:
    """The item of a workflow, also of one that is not among those listed; the first one when none is named.
    Raises TemporalUnavailable."""
    found = inbox.find(workflow_id)
    if found or not workflow_id or inbox.total.count <= len(inbox.items):
        return found
    clause = both(CLAUSE, f"WorkflowId = {quote(workflow_id)}")
    rows, _ = await list_rows(await client_for(viewer), with_scope(for_viewer(viewer), clause), 1)
    return Item(rows[0]) if rows else None


async def inbox(viewer: Viewer) -> Snapshot[Inbox]:
    """What waits for an approval, as far as this viewer may see it."""
    return await cached_read("approvals", viewer, lambda: _inbox(viewer))


async def _query(viewer: Viewer, row: Row, name: Query, model: type[C]) -> C:
    client = await client_for(viewer)
    answer: Any = await query(client, client.get_workflow_handle(row.workflow_id, run_id=row.run_id), name)
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise QueryFailed("The answer to this query cannot be read.") from error


async def _undone(viewer: Viewer, row: Row) -> list[StepStatus] | None:
    """What a reject undoes, the last step first; None where the workflow does not say."""
    try:
        saga = await _query(viewer, row, Query.SAGA, SagaStatus)
    except (NoAnswer, QueryFailed, RunNotFound):
        return None
    return [step for step in reversed(saga.steps) if step.compensation and step.status in DID]


async def _origins(viewer: Viewer, row: Row, status: ApprovalStatus) -> Origins | None:
    """Which votes this console sent; the history is read only for the senders of others."""
    found = await origins_of(subject_of(row), ())
    if found is None or not any(found.sender(item.decision_id, item.actor) for item in _sent(status)):
        return found
    history = await read_history(await client_for(viewer), row.workflow_id, row.run_id)
    return await origins_of(subject_of(row), history.sent)


def _sent(status: ApprovalStatus) -> list[Vote | Delegation]:
    return [*status.votes, *status.delegations]


def _ahead(row: Row, known: Iterable[Breaker]) -> list[Ahead]:
    pipeline = extend.pipelines.get(row.workflow_type)
    place = pipeline.places.get(row.stage) if pipeline else None
    if pipeline is None or place is None:
        return []
    closed = {card.dependency: card for card in known if card.view.lamp != "done"}
    return [
        Ahead(stage.label, closed.get(pipeline.breakers.get(stage.name, "")))
        for stage in pipeline.stages[place + 1 :]
    ]


async def chosen(viewer: Viewer, item: Item) -> Chosen:
    """The chosen item, by query; its row comes from the viewer's own inbox."""
    row, key = item.row, (item.row.workflow_id, item.row.run_id)
    answer, undone, known = await asyncio.gather(
        cached_read(
            "approval",
            viewer,
            lambda: _query(viewer, row, Query.APPROVAL, ApprovalStatus),
            detail=key,
            max_wait=MAX_WAIT,
        ),
        cached_read("approval-saga", viewer, lambda: _undone(viewer, row), detail=key, max_wait=MAX_WAIT),
        breakers.read(viewer),
    )
    cards = known.value.cards if known.value else []
    origins = None
    if (status := answer.value) and _sent(status):
        sent = await cached_read(
            "approval-origins",
            viewer,
            lambda: _origins(viewer, row, status),
            detail=(*key, str(len(_sent(status)))),
            max_wait=MAX_WAIT,
        )
        origins = sent.value
    return Chosen(item, answer, _ahead(row, cards), undone.value, origins)


def form(viewer: Viewer, chosen: Chosen) -> OfferedForm | None:
    """The votes that are offered on the chosen item; None once it has been decided."""
    row, status = chosen.item.row, chosen.approval.value
    target = Target(
        viewer,
        subject_of(row),
        row.workflow_type,
        open=row.open,
        attributes=row.attributes,
        answers={Query.APPROVAL: status} if status else {},
    )
    return next(iter(offers.forms(target, "approvals")), None)
