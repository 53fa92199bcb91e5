"""One scan of open runs, shared by all who ask: stages, conditions and sums are counted from its rows.

Visibility can group by status only, so counts by stage come from the rows themselves. A scan is at most a
second old, is made by one caller while the others wait, and stops at `SCAN_LIMIT` runs; then it is not
complete, and what is counted from it is "at least". Viewers of one scope share a scan: the clause is
its partition.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from temporalio.client import Client

from dashboard import extend
from dashboard.access import Viewer, client_for, for_viewer, within
from dashboard.bounded import Bounded
from dashboard.conf import conf as console
from dashboard.query.query import OPEN, Filter, ScopedQuery, Term, compile_filter, list_url, with_scope
from dashboard.temporal_api.lists import count, list_rows
from dashboard.temporal_api.rows import Row
from workers.client.errors import BadQuery, TemporalUnavailable
from workers.client.visibility import OPEN_RUNS, any_of, both
from workers.contracts import WaitingFor

FRESH = 1.0  # seconds
# A scan of thousands takes its time: it is then kept so many times as long, so that scanning never
# becomes the load.
KEPT_FACTOR = 3
KEPT_SCOPES = 200  # scopes whose last scan is kept
KEPT_BYTES = 64 * 1024 * 1024  # of all of them
KEPT_SECONDS = 3600.0
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


def held_filter(dependency: str) -> Filter:
    """The runs that the breaker of a dependency holds."""
    return Filter(condition="held", terms=(Term("WaitingFor", "=", WaitingFor.at_breaker(dependency)),))


@dataclass(frozen=True, slots=True)
class Scan:
    """Rows of open runs of the types that have a pipeline (of all types, where none has). Not `complete`:
    there are more than the limit."""

    namespace: str
    rows: list[Row]
    at: datetime
    complete: bool

    @property
    def age(self) -> timedelta:
        """How old it is."""
        return datetime.now(UTC) - self.at

    def _totals(
        self, rows: Iterable[Row], key: Callable[[Row], str], narrowed: Callable[[str], Filter]
    ) -> dict[str, Total]:
        out: dict[str, Total] = {}
        for row in rows:
            if name := key(row):
                empty = out.get(name) or Total(list_url(self.namespace, narrowed(name)))
                out[name] = empty.plus(row)
        return out

    def by_stage(self, workflow_type: str) -> dict[str, Total]:
        """Totals of the runs of one type by stage."""
        running = Filter(workflow_type=workflow_type, status="Running")
        return self._totals(
            (row for row in self.rows if row.workflow_type == workflow_type),
            lambda row: row.stage,
            lambda name: replace(running, terms=(Term("Stage", "=", name),)),
        )

    def by_condition(self, workflow_type: str = "") -> dict[str, Total]:
        """Totals by condition, of one type or of all."""
        return self._totals(
            (row for row in self.rows if workflow_type in ("", row.workflow_type)),
            lambda row: row.condition or "",
            lambda name: Filter(workflow_type=workflow_type, condition=name),
        )

    def held_by(self, dependency: str) -> list[str]:
        """Ids of the first runs that the breaker of a dependency holds."""
        value = WaitingFor.at_breaker(dependency)
        return [row.workflow_id for row in self.rows if value in row.waiting_for][:SHOWN_HELD]

    def held(self) -> dict[str, Total]:
        """Totals of held runs by dependency; a run held at two breakers counts for both."""
        out: dict[str, Total] = {}
        for row in self.rows:
            for name in WaitingFor.dependencies(row.waiting_for) if row.condition == "held" else ():
                empty = Total(list_url(self.namespace, held_filter(name)))
                out[name] = out.get(name, empty).plus(row)
        return out


# Per client, namespace, event loop and query (which carries the scope): the last scan with its time, and the
# one under way.
_Key = tuple[int, str, int, ScopedQuery]
_last: Bounded[_Key, tuple[float, Scan]] = Bounded(  # fresh until, scan
    largest=KEPT_BYTES, seconds=KEPT_SECONDS, entries=KEPT_SCOPES
)
_running: dict[_Key, asyncio.Task[Scan]] = {}


async def _refresh(client: Client, key: _Key) -> Scan:
    began, at = time.monotonic(), datetime.now(UTC)
    try:
        rows, complete = await list_rows(client, key[-1], console().scan_limit)
        scan, now = Scan(client.namespace, rows, at, complete), time.monotonic()
        _last.put(key, (now + max(FRESH, KEPT_FACTOR * (now - began)), scan))
        return scan
    finally:
        _running.pop(key, None)


async def _start(viewer: Viewer) -> tuple[Scan | None, asyncio.Task[Scan] | None]:
    """The last scan of this viewer's scope, and the task that makes a new one, unless that is still fresh."""
    client = await client_for(viewer)
    types = f"WorkflowType IN {any_of(list(extend.pipelines))}" if extend.pipelines else ""
    query = with_scope(for_viewer(viewer), both(OPEN_RUNS, types))
    key = (id(client), client.namespace, id(asyncio.get_running_loop()), query)
    fresh_until, last = _last.get(key) or (0.0, None)
    if last and time.monotonic() < fresh_until:
        return last, None
    if key not in _running:
        task = asyncio.create_task(_refresh(client, key))
        # Those who wait for the scan get its failure; nothing is logged when no request waits any more.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        _running[key] = task
    return last, _running[key]


async def open_runs(viewer: Viewer) -> Scan:
    """The viewer's open runs, a second old at most, or a little more where there are thousands. Raises
    TemporalUnavailable."""
    last, task = await _start(viewer)
    return await asyncio.shield(task) if task else cast(Scan, last)


async def latest_scan(viewer: Viewer) -> Scan | None:
    """The last scan of whatever age, for a page that must not wait; a new one is started where that is old.
    Raises TemporalUnavailable."""
    return (await _start(viewer))[0]


async def _counted(viewer: Viewer, filters: Mapping[str, Filter]) -> dict[str, Total]:
    client = await client_for(viewer)
    queries = [compile_filter(narrowed, viewer).scoped for narrowed in filters.values()]
    numbers = await asyncio.gather(*(count(client, query) for query in queries))
    urls = (list_url(viewer.namespace, narrowed) for narrowed in filters.values())
    return {name: Total(url, number) for name, url, number in zip(filters, urls, numbers, strict=True)}


async def condition_totals(viewer: Viewer, scan: Scan, workflow_type: str = "") -> dict[str, Total]:
    """Totals of open runs by condition, of one type or of all: of a complete scan, with sums; else counted by
    the server, without. Raises TemporalUnavailable."""
    if scan.complete or not extend.pipelines:
        return scan.by_condition(workflow_type)
    filters = {name: Filter(workflow_type=workflow_type, condition=name) for name in OPEN}
    try:
        return await _counted(viewer, filters)
    except BadQuery:  # a server without the attributes has no conditions
        return {}


async def held_totals(viewer: Viewer, scan: Scan, dependencies: Iterable[str]) -> dict[str, Total]:
    """Totals of held runs by dependency, as `condition_totals` has them. Raises
    TemporalUnavailable."""
    held = scan.held()
    if scan.complete or not extend.pipelines:
        return held
    try:
        totals = await _counted(viewer, {name: held_filter(name) for name in {*held, *dependencies}})
    except BadQuery:
        return held
    return {name: total for name, total in totals.items() if total.count}


async def oldest_stuck(viewer: Viewer, scan: Scan) -> list[Row]:
    """The sagas that need a person, the oldest first. Raises TemporalUnavailable."""
    rows = scan.rows
    if not scan.complete and extend.pipelines:
        stuck = compile_filter(Filter(condition="stuck"), viewer).scoped
        with suppress(BadQuery):
            rows, _ = await list_rows(await client_for(viewer), stuck, console().scan_limit)
    return [row for row in reversed(rows) if row.condition == "stuck"]  # lists have the newest first


async def held_ids(viewer: Viewer, dependency: str) -> list[str]:
    """Ids of the first workflows that this viewer sees held by the breaker of a dependency; none while
    Temporal is unreachable, or after the deadline of the page."""
    try:
        return (await asyncio.wait_for(open_runs(viewer), within())).held_by(dependency)
    except (TemporalUnavailable, TimeoutError):
        return []
