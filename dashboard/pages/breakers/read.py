"""Breakers: every open workflow that has a CircuitState, asked what it is, with what it holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client

from dashboard.access import Subject, Viewer, client_for, scope
from dashboard.live.cached_read import PATIENCE, Snapshot, cached_read, set_badges
from dashboard.panels.circuit import Rate, gauge_top, rate_of
from dashboard.states import STATES, Look, look
from dashboard.temporal_api.answers import Interface, QueryTarget, interface_of, query
from dashboard.temporal_api.lists import list_rows
from dashboard.temporal_api.rows import Row, subject_of
from dashboard.temporal_api.scan import Scan, Total, open_runs
from workers.client.attributes import CIRCUIT_STATE
from workers.client.errors import BadQuery, TemporalUnavailable
from workers.client.visibility import both
from workers.contracts import CircuitState, CircuitStatus, Query, Signal, Transition, WaitingFor
from workers.patterns.breaker.plugin import breakers
from workers.registry.registry import registry

BREAKER_TYPE = "BreakerWorkflow"
BREAKER_PREFIX = "breaker-"
MOST = 100
SHOWN_TRANSITIONS = 6
SHOWN_WAITING = 50
NO_ANSWER = Look("rest", "No answer", "It has not said how it is.")


@dataclass(frozen=True, slots=True)
class Breaker:
    """One card. `answer` is what the breaker said, or said last; `state` may come from the list alone.
    `waiting`: ids of the first workflows that it holds."""

    row: Row
    dependency: str
    state: str
    answer: Snapshot[CircuitStatus]
    held: Total | None
    waiting: list[str] = field(default_factory=list)

    @property
    def status(self) -> CircuitStatus:
        """What the breaker said; for one that never answered, no more than its state."""
        return self.answer.value or CircuitStatus(state=self.state, dependency=self.dependency)

    @property
    def look(self) -> Look:
        """How it is shown. A forced state is shown as such, as the breaker's own rule is off."""
        found = STATES["breaker"].get(self.state) or NO_ANSWER
        return Look("rest", f"Forced {found.word.lower()}", found.sentence) if self.status.forced else found

    @property
    def lamp(self) -> str:
        """Which lamp of the signal is lit."""
        return (STATES["breaker"].get(self.state) or NO_ANSWER).tone

    @property
    def open(self) -> bool:
        return self.state == CircuitState.OPEN

    @property
    def probes_at(self) -> datetime | None:
        """When the next probe goes out; None while nothing waits for one."""
        return self.status.next_probe_at if self.open else None

    @property
    def rate(self) -> Rate | None:
        """The share of failures beside its limit; None where the breaker does not judge by rate."""
        return rate_of(self.status)

    @property
    def subject(self) -> Subject:
        """What an action is about."""
        return subject_of(self.row)

    @property
    def gauge_top(self) -> float:
        return gauge_top(self.status)

    @property
    def transitions(self) -> list[tuple[str, Transition]]:
        """With the word of each new state, the newest first."""
        newest = sorted(self.status.transitions, key=lambda item: str(item.at or ""), reverse=True)
        shown = newest[:SHOWN_TRANSITIONS]
        return [(look(item.state, "breaker").word, item) for item in shown]


@dataclass(frozen=True, slots=True)
class Breakers:
    """All of them, the worst first; `not_running`: registered dependencies whose breaker does not run.
    `held`: what is held, by dependency."""

    cards: list[Breaker]
    not_running: list[str]
    held: list[tuple[str, Total]]
    complete: bool

    @property
    def counts(self) -> list[tuple[int, str, str]]:
        """How many in each state: count, tone, word in the middle of a sentence."""
        found = Counter((card.look.tone, card.look.word.lower()) for card in self.cards)
        return [(count, tone, word) for (tone, word), count in found.items()]


def _clause(viewer: Viewer, *, attribute: bool) -> str:
    """Breakers are shared: the platform's are for all to see, those of others stay within their tenant."""
    kinds = f"WorkflowType = '{BREAKER_TYPE}'"
    if attribute:
        kinds += f" OR ({both(scope(viewer), f'{CIRCUIT_STATE.name} IS NOT NULL')})"
    return both("ExecutionStatus = 'Running'", kinds)


async def _rows(client: Client, viewer: Viewer) -> list[Row]:
    """A foreign server may lack the attribute: then only breakers of our own type are known."""
    try:
        return (await list_rows(client, _clause(viewer, attribute=True), MOST))[0]
    except BadQuery:
        return (await list_rows(client, _clause(viewer, attribute=False), MOST))[0]


async def _ask(client: Client, row: Row) -> CircuitStatus:
    """The breaker's own answer. Of one that cannot be read as a whole the state alone is taken."""
    handle = client.get_workflow_handle(row.workflow_id, run_id=row.run_id)
    answer: Any = await query(client, handle, Query.CIRCUIT)
    try:
        return CircuitStatus.model_validate(answer)
    except ValidationError:
        state = answer.get("state") if isinstance(answer, dict) else ""
        return CircuitStatus(state=str(state or ""))


def _waiting(scan: Scan, dependency: str) -> list[str]:
    value = WaitingFor.at_breaker(dependency)
    return [row.workflow_id for row in scan.rows if value in row.waiting_for][:SHOWN_WAITING]


async def _breaker(client: Client, viewer: Viewer, row: Row, scan: Scan, held: dict[str, Total]) -> Breaker:
    key = (row.workflow_id, row.run_id)
    answer = await cached_read("breaker", viewer, lambda: _ask(client, row), detail=key, patience=PATIENCE)
    said = answer.value
    listed_state = str(row.attributes.get(CIRCUIT_STATE.name) or "")
    state = said.state if said and not answer.notice else listed_state or (said.state if said else "")
    dependency = (said.dependency if said else "") or row.workflow_id.removeprefix(BREAKER_PREFIX)
    return Breaker(row, dependency, state, answer, held.get(dependency), _waiting(scan, dependency))


def _worst_first(card: Breaker) -> tuple[int, str]:
    states = [*STATES["breaker"]]
    return states.index(card.state) if card.state in states else len(states), card.dependency


async def _read(viewer: Viewer) -> Breakers:
    client = await client_for(viewer)
    rows, scan = await asyncio.gather(_rows(client, viewer), open_runs(viewer))
    held = scan.held()
    cards = await asyncio.gather(*(_breaker(client, viewer, row, scan, held) for row in rows))
    registry.load()
    absent = breakers.configs.keys() - {card.dependency for card in cards}
    set_badges(viewer, open=sum(card.open for card in cards))
    return Breakers(sorted(cards, key=_worst_first), sorted(absent), list(held.items()), scan.complete)


async def read(viewer: Viewer) -> Snapshot[Breakers]:
    """All breakers that this viewer may see, or their last snapshot."""
    return await cached_read("breakers", viewer, lambda: _read(viewer))


OWN_SIGNALS = frozenset({Signal.FORCE_OPEN, Signal.FORCE_CLOSE, Signal.RELEASE, Signal.PROBE})


async def _interface(viewer: Viewer, row: Row) -> Interface:
    client = await client_for(viewer)
    target = QueryTarget(row.workflow_id, row.run_id, "", f"{row.workflow_id}\n{row.run_id}", ())
    handle = client.get_workflow_handle(row.workflow_id, run_id=row.run_id)
    return await interface_of(client, handle, target)


async def signals(viewer: Viewer, card: Breaker) -> frozenset[str]:
    """The signals that a breaker says it takes. While no worker can be asked, ours take all four: they are
    kept until one comes."""
    row = card.row
    key = (row.workflow_id, row.run_id)
    found = await cached_read(
        "interface", viewer, lambda: _interface(viewer, row), detail=key, patience=PATIENCE
    )
    if found.value is None and row.workflow_type == BREAKER_TYPE:
        return frozenset(map(str, OWN_SIGNALS))
    return found.value.signals if found.value else frozenset()


async def held_by(viewer: Viewer, dependency: str) -> list[str]:
    """Ids of the first workflows that this viewer sees held by the breaker of a dependency."""
    try:
        return _waiting(await open_runs(viewer), dependency)
    except TemporalUnavailable:
        return []
