"""The overview: each line with its stations and signals, its way back, and who needs a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from asgiref.sync import sync_to_async
from temporalio.client import Client

from dashboard import extend
from dashboard.access import Verb, Viewer, may
from dashboard.conf import conf as console
from dashboard.live.cached_read import Seen, seen
from dashboard.models import AuditEntry
from dashboard.pages.approvals.read import SOON_SECONDS
from dashboard.pages.breakers.read import Breaker
from dashboard.query.conditions import STATUSES
from dashboard.query.query import Filter, Term, list_url, scoped
from dashboard.temporal_api.rows import Row
from dashboard.temporal_api.scan import Scan, Total, open_runs
from workers.client.connection import get_client
from workers.client.errors import BadQuery, rpc_errors
from workers.conf import conf
from workers.contracts import SagaState

RECENT = 6
STUCK_SHOWN = 5
COUNTS_FRESH = 5.0  # seconds; closed runs are counted by the server, and change slowly beside the rest
FORWARD = ("moving", "waiting", "held")
WAY_BACK = ("compensating", "stuck")
NOT_BACK = f"SagaState IS NULL OR SagaState NOT IN ('{SagaState.COMPENSATING}', '{SagaState.STUCK}')"


@dataclass(frozen=True, slots=True)
class Station:
    """One place on the line. `count` None: the server could not count. `sub`: a status in words below."""

    at: int
    label: str
    total: Total
    s: str
    sub: str = ""
    counted: bool = True
    breaker: Breaker | None = None
    held: Total | None = None
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """A line as it is drawn: the way forward, and the way back from right to left."""

    title: str
    workflow_type: str
    forward: list[Station]
    back: list[Station]

    @property
    def roomy(self) -> bool:
        """With more than one signal on the line there is less room for their words."""
        return sum(station.breaker is not None for station in self.forward) < 2


@dataclass(frozen=True, slots=True)
class Overview:
    """All tracks, totals by condition, and the first of those that are stuck. `others`: open runs by type,
    where no app has registered a line."""

    tracks: list[Track]
    totals: dict[str, Total]
    stuck: list[Row]
    others: list[tuple[str, int, str]]
    complete: bool
    at: datetime


def _filter(line: extend.Line, condition: str = "", *terms: Term) -> Filter:
    return Filter(workflow_type=line.workflow_type, condition=condition, terms=terms)


def _ends(line: extend.Line) -> tuple[Filter, Filter]:
    """Filters of the two ends: arrived, and undone."""
    undone = _filter(line, "", Term("SagaState", "=", SagaState.COMPENSATED))
    return _filter(line, "completed"), undone


async def _count(client: Client, viewer: Viewer, narrowed: Filter) -> int | None:
    """How many; None where this server lacks the attributes."""
    timeout = timedelta(seconds=conf().rpc_timeout)
    try:
        with rpc_errors():
            query = scoped(viewer, narrowed.to_query())
            return (await client.count_workflows(query, rpc_timeout=timeout)).count
    except BadQuery:
        return None


async def _counts(viewer: Viewer) -> dict[str, list[int | None]]:
    """By workflow type: how many arrived, and how many were undone."""
    client = await get_client()
    lines = list(extend.lines().values())
    found = await asyncio.gather(*(_count(client, viewer, end) for line in lines for end in _ends(line)))
    return {line.workflow_type: list(found[2 * at : 2 * at + 2]) for at, line in enumerate(lines)}


def _look(rows: Sequence[Row]) -> tuple[str, str]:
    """Colour and words of a station by the worst that stands there."""
    conditions = Counter(row.condition for row in rows)
    if held := conditions["held"]:
        return "stop", "Held" if held == len(rows) else f"{held} held"
    soon = datetime.now(UTC) + timedelta(seconds=SOON_SECONDS)
    due = sum(row.deadline is not None and row.deadline < soon for row in rows if row.condition == "waiting")
    if conditions["waiting"]:
        return "wait", f"{due} due soon" if due else "Waiting"
    return ("run", "") if rows else ("rest", "")


def _end(at: int, label: str, narrowed: Filter, count: int | None, s: str) -> Station:
    return Station(at, label, Total(list_url(narrowed), count or 0), s, counted=count is not None)


def _forward(line: extend.Line, scan: Scan, cards: dict[str, Breaker]) -> list[Station]:
    totals, held = scan.by_stage(line.workflow_type), scan.held()
    stations = []
    for at, stage in enumerate(_working(line), start=1):
        here = [row for row in scan.rows if row.stage == stage.name]
        narrowed = replace(_filter(line, "", Term("Stage", "=", stage.name)), status="Running", raw=NOT_BACK)
        s, sub = _look(here)
        dependency = line.guards.get(stage.name, "")
        card = cards.get(dependency)
        total = replace(totals.get(stage.name, Total("")), url=list_url(narrowed))
        shown = card if card and card.view.lamp in ("stop", "wait") else None
        stations.append(
            Station(
                at,
                stage.label,
                total,
                s,
                sub,
                breaker=shown,
                held=held.get(dependency),
                loop=bool(dependency),
            )
        )
    return stations


def _working(line: extend.Line) -> tuple[extend.Stage, ...]:
    """The stages before the last one: runs do not stand at the last, they end there."""
    return line.stages[:-1]


def _back(line: extend.Line, scan: Scan, undone: int | None, first: int) -> list[Station]:
    totals = scan.by_condition()

    def station(at: int, label: str, name: str, s: str, sub: str) -> Station:
        total = replace(totals.get(name, Total("")), url=list_url(_filter(line, name)))
        return Station(at, label, total, s if total.count else "rest", sub if total.count else "")

    return [
        station(first, "Compensating", "compensating", "undo", ""),
        station(first - 1, "Needs a person", "stuck", "stop", "Stuck"),
        _end(first - 2, "Compensated", _ends(line)[1], undone, "rest"),
    ]


def _only(scan: Scan, line: extend.Line, conditions: Collection[str]) -> Scan:
    rows = [
        row for row in scan.rows if row.workflow_type == line.workflow_type and row.condition in conditions
    ]
    return replace(scan, rows=rows)


def _track(line: extend.Line, scan: Scan, cards: dict[str, Breaker], counts: list[int | None]) -> Track:
    forward = _forward(line, _only(scan, line, FORWARD), cards)
    last = line.stages[-1].label if line.stages else "Completed"
    forward.append(_end(len(forward) + 1, last, _ends(line)[0], counts[0], "done"))
    # The way back leaves after the guarded stages and needs three places to the left of them.
    loops = [station.at for station in forward if station.loop]
    first = max(3, min(loops, default=4) - 1)
    back = _back(line, _only(scan, line, WAY_BACK), counts[1], first)
    return Track(line.title, line.workflow_type, forward, back)


def _others(rows: Iterable[Row]) -> list[tuple[str, int, str]]:
    found = Counter(row.workflow_type for row in rows)
    status = STATUSES[1][0]
    return [
        (name, n, list_url(Filter(workflow_type=name, status=status))) for name, n in found.most_common(12)
    ]


async def _read(viewer: Viewer, cards: list[Breaker]) -> Overview:
    client = await get_client()
    scan, counts = await asyncio.gather(
        open_runs(client, viewer), seen("counts", viewer, lambda: _counts(viewer), fresh=COUNTS_FRESH)
    )
    by_name, ends = {card.dependency: card for card in cards}, counts.value or {}
    lines = extend.lines().values()
    tracks = [_track(line, scan, by_name, ends.get(line.workflow_type, [None, None])) for line in lines]
    totals = scan.by_condition()
    stuck = [row for row in reversed(scan.rows) if row.condition == "stuck"]  # the oldest first
    others = [] if tracks else _others(scan.rows)
    return Overview(tracks, totals, stuck[:STUCK_SHOWN], others, scan.complete, scan.at)


async def read(viewer: Viewer, cards: list[Breaker]) -> Seen[Overview]:
    """The lines as this viewer may see them; `cards` are the breakers, for the signals."""
    return await seen("overview", viewer, lambda: _read(viewer, cards))


def _recent(viewer: Viewer) -> list[AuditEntry]:
    found = AuditEntry.objects.select_related("intent").filter(phase=AuditEntry.Phase.OUTCOME)
    if console().tenancy == "attribute" and not viewer.superuser:
        found = found.filter(tenant=viewer.tenant or "")
    return list(found[:RECENT])


async def just_now(viewer: Viewer) -> list[AuditEntry] | None:
    """What people did last, the newest first; None for those who may not read the audit log."""
    return None if may(viewer, Verb.AUDIT) else await sync_to_async(_recent)(viewer)
