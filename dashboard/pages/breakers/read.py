"""Breakers: each with its answer and what it holds. With tenants, the viewer's own and those that all tenants
share; of a shared one only what every tenant may see."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client

from dashboard import registrations
from dashboard.access import Subject, Viewer, client_for, for_viewer
from dashboard.actions import offers
from dashboard.actions.offers import OfferedForm
from dashboard.extend import Target, actions
from dashboard.live.cached_read import MAX_WAIT, Snapshot, cached_read, set_badges
from dashboard.panels.circuit import BreakerView, draw
from dashboard.query.query import ScopedQuery, with_scope
from dashboard.states import STATES
from dashboard.temporal_api.answers import Interface, interface_of, query
from dashboard.temporal_api.lists import list_rows
from dashboard.temporal_api.rows import Row, subject_of
from dashboard.temporal_api.scan import Scan, Total, held_totals, open_runs
from dashboard.temporal_api.shared_breaker import shared_view
from workers.client.attributes import CIRCUIT_STATE
from workers.client.errors import BadQuery
from workers.client.visibility import OPEN_RUNS, both
from workers.contracts import CircuitState, CircuitStatus, Query
from workers.patterns.breaker.plugin import breakers

BREAKER_TYPE = "BreakerWorkflow"
BREAKER_PREFIX = "breaker-"
MOST = 100


@dataclass(frozen=True, slots=True)
class Breaker:
    """One card. `answer` is the breaker's newest answer; `state` may come from the list alone.
    `held_ids`: ids of the first workflows that it holds. `shared`: it belongs to the platform, so that this
    viewer cannot open its page."""

    row: Row
    dependency: str
    state: str
    answer: Snapshot[CircuitStatus]
    held: Total | None
    held_ids: list[str] = field(default_factory=list)
    shared: bool = False

    @property
    def status(self) -> CircuitStatus:
        """The breaker's answer; for one that never answered, no more than its state."""
        return self.answer.value or CircuitStatus(state=self.state, dependency=self.dependency)

    @property
    def view(self) -> BreakerView:
        """The card; its state may come from the list."""
        return draw(self.status.model_copy(update={"state": self.state, "dependency": self.dependency}))

    @property
    def open(self) -> bool:
        return self.state == CircuitState.OPEN

    @property
    def subject(self) -> Subject:
        """What an action is about."""
        return subject_of(self.row)


@dataclass(frozen=True, slots=True)
class Breakers:
    """All of them, the worst first; `not_running`: registered dependencies whose breaker does not run.
    `held`: what is held, by dependency."""

    cards: list[Breaker]
    not_running: list[str]
    held: list[tuple[str, Total]]

    @property
    def counts(self) -> list[tuple[int, str, str]]:
        """How many in each state: count, tone, word in the middle of a sentence."""
        found = Counter((view.tone, view.word) for view in (card.view for card in self.cards))
        return [(count, tone, word.lower()) for (tone, word), count in found.items()]


def _query(viewer: Viewer, *, attribute: bool) -> ScopedQuery:
    """Runs of our own type, those of the platform too, as tenants share them; with `attribute`, within the
    viewer's scope also those of any type that have a CircuitState."""
    scope, kinds = for_viewer(viewer), f"WorkflowType = '{BREAKER_TYPE}'"
    if attribute:
        kinds += f" OR ({both(scope.clause, f'{CIRCUIT_STATE.name} IS NOT NULL')})"
    return with_scope(scope.with_platform(), both(OPEN_RUNS, kinds))


async def _rows(client: Client, viewer: Viewer) -> list[Row]:
    """The runs that have a card. A foreign server may lack the attribute: then only breakers of our own type
    are known."""
    try:
        rows, _ = await list_rows(client, _query(viewer, attribute=True), MOST)
    except BadQuery:
        return (await list_rows(client, _query(viewer, attribute=False), MOST))[0]
    drawn = await asyncio.gather(*(_is_breaker(viewer, row) for row in rows))
    return [row for row, is_breaker in zip(rows, drawn, strict=True) if is_breaker]


async def _is_breaker(viewer: Viewer, row: Row) -> bool:
    """Of our own type, or one that declares the query of the contract: any workflow can set an attribute."""
    if row.workflow_type == BREAKER_TYPE:
        return True
    declared = await _declared(viewer, row) if for_viewer(viewer).admits(subject_of(row)) else None
    return declared is not None and Query.CIRCUIT in declared.queries


async def _ask(client: Client, row: Row, shared: bool) -> CircuitStatus:
    """The breaker's own answer. Of one that cannot be read as a whole the state alone is taken."""
    handle = client.get_workflow_handle(row.workflow_id, run_id=row.run_id)
    answer: Any = await query(client, handle, Query.CIRCUIT)
    if shared:
        answer = shared_view(answer)
    try:
        return CircuitStatus.model_validate(answer)
    except ValidationError:
        state = answer.get("state") if isinstance(answer, dict) else ""
        return CircuitStatus(state=str(state or ""))


async def _breaker(client: Client, viewer: Viewer, row: Row, scan: Scan, held: dict[str, Total]) -> Breaker:
    key, shared = (row.workflow_id, row.run_id), not for_viewer(viewer).admits(subject_of(row))
    answer = await cached_read(
        "breaker", viewer, lambda: _ask(client, row, shared), detail=key, max_wait=MAX_WAIT
    )
    status = answer.value
    listed_state = str(row.attributes.get(CIRCUIT_STATE.name) or "")
    state = status.state if status and not answer.notice else listed_state or (status.state if status else "")
    dependency = (status.dependency if status else "") or row.workflow_id.removeprefix(BREAKER_PREFIX)
    ids = scan.held_by(dependency)
    return Breaker(row, dependency, state, answer, held.get(dependency), ids, shared)


def _worst_first(card: Breaker) -> tuple[int, str]:
    states = [*STATES["breaker"]]
    return states.index(card.state) if card.state in states else len(states), card.dependency


async def _read(viewer: Viewer) -> Breakers:
    client = await client_for(viewer)
    rows, scan = await asyncio.gather(_rows(client, viewer), open_runs(viewer))
    registrations.load()
    held = await held_totals(viewer, scan, breakers.configs.keys())
    cards = await asyncio.gather(*(_breaker(client, viewer, row, scan, held) for row in rows))
    absent = breakers.configs.keys() - {card.dependency for card in cards}
    set_badges(viewer, open=sum(card.open for card in cards))
    return Breakers(sorted(cards, key=_worst_first), sorted(absent), list(held.items()))


async def read(viewer: Viewer) -> Snapshot[Breakers]:
    """All breakers that this viewer may see, or their last snapshot."""
    return await cached_read("breakers", viewer, lambda: _read(viewer))


async def _interface(viewer: Viewer, row: Row) -> Interface:
    client = await client_for(viewer)
    handle = client.get_workflow_handle(row.workflow_id, run_id=row.run_id)
    return await interface_of(client, handle, f"{row.workflow_id}\n{row.run_id}", "")


async def _declared(viewer: Viewer, row: Row) -> Interface | None:
    """What a run declares; None where no worker has answered yet."""
    key = (row.workflow_id, row.run_id)
    found = await cached_read(
        "interface", viewer, lambda: _interface(viewer, row), detail=key, max_wait=MAX_WAIT
    )
    return found.value


async def _signals(viewer: Viewer, card: Breaker) -> frozenset[str]:
    """The signals that a breaker declares. While no worker can be queried, our own type takes all: they
    are kept until a worker comes."""
    declared = await _declared(viewer, card.row)
    if declared is None and card.row.workflow_type == BREAKER_TYPE:
        return frozenset(action.signal for action in actions("breakers").values())
    return declared.signals if declared else frozenset()


async def form(viewer: Viewer, card: Breaker) -> OfferedForm | None:
    """What the viewer may do to a breaker; None where it takes nothing."""
    target = Target(
        viewer,
        card.subject,
        card.row.workflow_type,
        signals=await _signals(viewer, card),
        queries=frozenset({str(Query.CIRCUIT)}),
        attributes=card.row.attributes,
        answers={Query.CIRCUIT: card.status},
        held=card.held_ids,
    )
    return next(iter(offers.forms(target, "breakers")), None)
