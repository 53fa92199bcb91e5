"""Breakers: every open workflow that has a CircuitState, asked what it is, with what it holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client

from dashboard.access import Subject, Viewer, scope
from dashboard.live.regions import PATIENCE, Seen, seen, set_badges
from dashboard.reads.answers import Asked, Declared, declaration, query
from dashboard.reads.listing import listed
from dashboard.visibility.rows import Row
from dashboard.visibility.scan import Scan, Total, open_runs
from workers.client.attributes import CIRCUIT_STATE, TENANT_ID
from workers.client.connection import get_client
from workers.client.errors import BadQuery, TemporalUnavailable
from workers.client.visibility import both
from workers.contracts import CircuitState, CircuitStatus, Query, Signal, Transition, WaitingFor
from workers.registry.registry import registry

BREAKER_TYPE = "BreakerWorkflow"
BREAKER_PREFIX = "breaker-"
MOST = 100
SHOWN_TRANSITIONS = 6
SHOWN_WAITING = 50
# State -> s, word, shape; the worst first.
STATES: dict[str, tuple[str, str, str]] = {
    CircuitState.OPEN: ("stop", "Open", "stop"),
    CircuitState.HALF_OPEN: ("wait", "Half open", "half"),
    CircuitState.CLOSED: ("done", "Closed", "done"),
}
UNKNOWN = ("rest", "No answer", "rest")


@dataclass(frozen=True, slots=True)
class Rate:
    """Failures of the window in percent, the limit they open at, and whether there are enough calls to
    judge."""

    percent: float
    limit: float
    calls: int
    minimum: int
    seconds: float

    @property
    def judged(self) -> bool:
        return self.calls >= self.minimum


def rate_of(status: CircuitStatus) -> Rate | None:
    """The failure rate of a breaker that judges by it."""
    if status.failure_rate <= 0:
        return None
    percent = 100 * status.failures / status.calls if status.calls > 0 else 0.0
    limit = 100 * status.failure_rate
    return Rate(percent, limit, status.calls, status.minimum_calls, status.window_seconds)


def gauge_top(status: CircuitStatus) -> float:
    """The end of the scale of failures: the limit stands at four fifths of it."""
    return max(status.failure_count, status.threshold * 1.25)


@dataclass(frozen=True, slots=True)
class Breaker:
    """One card. `answer` is what the breaker said, or said last; `state` may come from the list alone.
    `waiting`: ids of the first workflows that it holds."""

    row: Row
    dependency: str
    state: str
    answer: Seen[CircuitStatus]
    held: Total | None
    waiting: list[str] = field(default_factory=list)

    @property
    def status(self) -> CircuitStatus:
        """What the breaker said; for one that never answered, no more than its state."""
        return self.answer.value or CircuitStatus(state=self.state, dependency=self.dependency)

    @property
    def look(self) -> tuple[str, str, str]:
        """s, word and shape. A forced state is shown as such, as the breaker's own rule is off."""
        s, word, shape = STATES.get(self.state, UNKNOWN)
        return ("rest", f"Forced {word.lower()}", "rest") if self.status.forced else (s, word, shape)

    @property
    def lamp(self) -> str:
        """Which lamp of the signal is lit."""
        return STATES.get(self.state, UNKNOWN)[0]

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
        """What somebody acts on."""
        tenant: Any = self.row.attributes.get(TENANT_ID.name)
        return Subject(self.row.workflow_id, self.row.run_id, tenant if isinstance(tenant, str) else None)

    @property
    def gauge_top(self) -> float:
        return gauge_top(self.status)

    @property
    def transitions(self) -> list[tuple[str, Transition]]:
        """With the word of each new state, the newest first."""
        newest = sorted(self.status.transitions, key=lambda item: str(item.at or ""), reverse=True)
        shown = newest[:SHOWN_TRANSITIONS]
        return [(STATES[item.state][1] if item.state in STATES else item.state, item) for item in shown]


@dataclass(frozen=True, slots=True)
class Breakers:
    """All of them, the worst first; `silent`: registered dependencies whose breaker does not run."""

    cards: list[Breaker]
    silent: list[str]
    held: dict[str, Total]
    complete: bool

    @property
    def counts(self) -> list[tuple[int, str, str]]:
        """How many in each state: count, s, word in the middle of a sentence."""
        found = Counter(card.look[:2] for card in self.cards)
        return [(count, s, word.lower()) for (s, word), count in found.items()]


def _clause(viewer: Viewer, *, attribute: bool) -> str:
    """Breakers are shared: the platform's are for all to see, those of others stay within their tenant."""
    kinds = f"WorkflowType = '{BREAKER_TYPE}'"
    if attribute:
        kinds += f" OR ({both(scope(viewer), f'{CIRCUIT_STATE.name} IS NOT NULL')})"
    return both("ExecutionStatus = 'Running'", kinds)


async def _rows(client: Client, viewer: Viewer) -> list[Row]:
    """A foreign server may lack the attribute: then only breakers of our own type are known."""
    try:
        return (await listed(client, _clause(viewer, attribute=True), MOST))[0]
    except BadQuery:
        return (await listed(client, _clause(viewer, attribute=False), MOST))[0]


async def _ask(client: Client, row: Row) -> CircuitStatus:
    """The breaker's own answer. Of one that cannot be read as a whole the state alone is taken."""
    handle = client.get_workflow_handle(row.workflow_id, run_id=row.run_id)
    answer: Any = await query(handle, Query.CIRCUIT)
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
    answer = await seen("breaker", viewer, lambda: _ask(client, row), detail=key, patience=PATIENCE)
    said = answer.value
    listed_state = str(row.attributes.get(CIRCUIT_STATE.name) or "")
    state = said.state if said and not answer.notice else listed_state or (said.state if said else "")
    dependency = (said.dependency if said else "") or row.workflow_id.removeprefix(BREAKER_PREFIX)
    return Breaker(row, dependency, state, answer, held.get(dependency), _waiting(scan, dependency))


def _worst_first(card: Breaker) -> tuple[int, str]:
    states = [*STATES]
    return states.index(card.state) if card.state in states else len(states), card.dependency


async def _read(viewer: Viewer) -> Breakers:
    client = await get_client()
    rows, scan = await asyncio.gather(_rows(client, viewer), open_runs(client, viewer))
    held = scan.held()
    cards = await asyncio.gather(*(_breaker(client, viewer, row, scan, held) for row in rows))
    registry.load()
    silent = registry.breakers.keys() - {card.dependency for card in cards}
    set_badges(viewer, open=sum(card.open for card in cards))
    return Breakers(sorted(cards, key=_worst_first), sorted(silent), held, scan.complete)


async def read(viewer: Viewer) -> Seen[Breakers]:
    """All breakers that this viewer may see, or the last that were seen."""
    return await seen("breakers", viewer, lambda: _read(viewer))


OWN_SIGNALS = frozenset({Signal.FORCE_OPEN, Signal.FORCE_CLOSE, Signal.RELEASE, Signal.PROBE})


async def _declared(row: Row) -> Declared:
    client = await get_client()
    asked = Asked(row.workflow_id, row.run_id, "", f"{row.workflow_id}\n{row.run_id}", ())
    return await declaration(client.get_workflow_handle(row.workflow_id, run_id=row.run_id), asked)


async def signals(viewer: Viewer, card: Breaker) -> frozenset[str]:
    """The signals that a breaker says it takes. While no worker can be asked, ours take all four: they are
    kept until one comes."""
    row = card.row
    key = (row.workflow_id, row.run_id)
    found = await seen("declared", viewer, lambda: _declared(row), detail=key, patience=PATIENCE)
    if found.value is None and row.workflow_type == BREAKER_TYPE:
        return frozenset(map(str, OWN_SIGNALS))
    return found.value.signals if found.value else frozenset()


async def held_by(viewer: Viewer, dependency: str) -> list[str]:
    """Ids of the first workflows that this viewer sees held by the breaker of a dependency."""
    try:
        return _waiting(await open_runs(await get_client(), viewer), dependency)
    except TemporalUnavailable:
        return []
