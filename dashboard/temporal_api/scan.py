"""One scan of open runs, shared by all who ask: stages, conditions and sums are counted from its rows.

Visibility can group by status only, so counts by stage come from the rows themselves. A scan is at most a
second old, is made by one caller while the others wait, and stops at `SCAN_LIMIT` runs; then it is not
complete, and what is counted from it is "at least". Viewers of one scope share a scan: the clause is
its partition.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client

from dashboard import extend
from dashboard.conf import conf as console
from dashboard.query.query import Filter, Term, list_url, scoped
from dashboard.temporal_api.listing import listed
from dashboard.temporal_api.rows import Row
from workers.client.connection import get_client
from workers.client.errors import TemporalUnavailable
from workers.client.visibility import any_of, both
from workers.contracts import WaitingFor

if TYPE_CHECKING:
    from dashboard.access import Viewer

FRESH = 1.0  # seconds
# A scan of thousands takes its time: it is then kept so many times as long, so that scanning never
# becomes the load.
KEPT_FACTOR = 3
MAX_SCOPES = 200  # scopes whose last scan is kept
SHOWN_HELD = 50  # ids of held runs


@dataclass(frozen=True, slots=True)
class Total:
    """Runs counted, with sums in minor units by currency, and the address of the list of exactly these
    runs."""

    url: str
    count: int = 0
    sums: dict[str, int] = field(default_factory=dict)

    def plus(self, row: Row) -> Total:
        """With one more run."""
        if row.amount is None:
            return replace(self, count=self.count + 1)
        minor = self.sums.get(row.amount.currency, 0) + row.amount.minor
        return replace(self, count=self.count + 1, sums={**self.sums, row.amount.currency: minor})


def _totals(
    rows: Iterable[Row], key: Callable[[Row], str], narrowed: Callable[[str], Filter]
) -> dict[str, Total]:
    out: dict[str, Total] = {}
    for row in rows:
        name = key(row)
        if name:
            out[name] = out.get(name, Total(list_url(narrowed(name)))).plus(row)
    return out


@dataclass(frozen=True, slots=True)
class Scan:
    """Rows of open runs of the types that have a line (of all types, where none has). Not `complete`:
    there are more than the limit."""

    rows: list[Row]
    at: datetime
    complete: bool

    @property
    def age(self) -> timedelta:
        """How old it is."""
        return datetime.now(UTC) - self.at

    def by_stage(self, workflow_type: str) -> dict[str, Total]:
        """Totals of the runs of one type by stage."""
        running = Filter(workflow_type=workflow_type, status="Running")
        return _totals(
            (row for row in self.rows if row.workflow_type == workflow_type),
            lambda row: row.stage,
            lambda name: replace(running, terms=(Term("Stage", "=", name),)),
        )

    def by_condition(self) -> dict[str, Total]:
        """Totals by condition."""
        return _totals(self.rows, lambda row: row.condition or "", lambda name: Filter(condition=name))

    def held_by(self, dependency: str) -> list[str]:
        """Ids of the first runs that the breaker of a dependency holds."""
        value = f"{WaitingFor.BREAKER}{dependency}"
        return [row.workflow_id for row in self.rows if row.waiting_for == value][:SHOWN_HELD]

    def held(self) -> dict[str, Total]:
        """Totals of held runs by the dependency whose breaker holds them."""
        return _totals(
            (row for row in self.rows if row.condition == "held"),
            lambda row: (row.waiting_for or "").removeprefix(WaitingFor.BREAKER),
            lambda name: Filter(
                condition="held", terms=(Term("WaitingFor", "=", f"{WaitingFor.BREAKER}{name}"),)
            ),
        )


# Per client, event loop and scope: the last scan with its time, and the one under way.
_Key = tuple[int, int, str]
_last: OrderedDict[_Key, tuple[float, Scan]] = OrderedDict()  # fresh until, scan
_running: dict[_Key, asyncio.Task[Scan]] = {}


async def _read(client: Client, query: str) -> Scan:
    """All pages, up to the limit."""
    at = datetime.now(UTC)
    rows, complete = await listed(client, query, console().scan_limit)
    return Scan(rows, at, complete)


async def _refresh(client: Client, key: _Key, query: str) -> Scan:
    began = time.monotonic()
    try:
        scan = await _read(client, query)
        now = time.monotonic()
        _last[key] = (now + max(FRESH, KEPT_FACTOR * (now - began)), scan)
        _last.move_to_end(key)
        while len(_last) > MAX_SCOPES:
            _last.popitem(last=False)
        return scan
    finally:
        _running.pop(key, None)


def _start(client: Client, viewer: Viewer) -> tuple[_Key, asyncio.Task[Scan] | None]:
    """The key of this viewer's scan, and the task that makes a new one, unless the last one is still
    fresh."""
    types = f"WorkflowType IN {any_of(list(extend.lines()))}" if extend.lines() else ""
    query = scoped(viewer, both("ExecutionStatus = 'Running'", types))
    key = (id(client), id(asyncio.get_running_loop()), query)
    if key in _last and time.monotonic() < _last[key][0]:
        return key, None
    if key not in _running:
        task = asyncio.create_task(_refresh(client, key, query))
        # A failure is told to those who wait; nobody may be waiting.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        _running[key] = task
    return key, _running[key]


async def open_runs(client: Client, viewer: Viewer) -> Scan:
    """The viewer's open runs, a second old at most, or a little more where there are thousands. Raises
    TemporalUnavailable."""
    key, task = _start(client, viewer)
    return _last[key][1] if task is None else await asyncio.shield(task)


def glance(client: Client, viewer: Viewer) -> Scan | None:
    """The last scan of whatever age, for a page that must not wait; a new one is started where that is
    old."""
    key, _ = _start(client, viewer)
    return _last[key][1] if key in _last else None


async def held_ids(viewer: Viewer, dependency: str) -> list[str]:
    """Ids of the first workflows that this viewer sees held by the breaker of a dependency; none while
    Temporal is away."""
    try:
        scan = await open_runs(await get_client(), viewer)
    except TemporalUnavailable:
        return []
    return scan.held_by(dependency)
