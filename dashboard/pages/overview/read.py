"""The overview: each pipeline with its stages and breakers, its compensations, and what needs a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from asgiref.sync import sync_to_async

from dashboard import extend
from dashboard.access import Verb, Viewer, client_for, for_viewer, may
from dashboard.live.cached_read import Snapshot, cached_read
from dashboard.models import AuditEntry
from dashboard.pages.approvals.read import SOON_SECONDS
from dashboard.pages.breakers import read as breakers
from dashboard.pages.breakers.read import Breaker
from dashboard.query.query import Filter, Term, compile_filter, list_url
from dashboard.states import STATES
from dashboard.temporal_api.lists import count, open_values
from dashboard.temporal_api.rows import Row
from dashboard.temporal_api.scan import Scan, Total, condition_totals, oldest_stuck, open_runs
from workers.client.errors import BadQuery, CallFailed
from workers.client.visibility import OPEN_RUNS, both
from workers.contracts import SagaState

RECENT = 6
STUCK_SHOWN = 5
MOST_OTHERS = 12  # types without a pipeline
COUNTS_FRESH = 5.0  # seconds; closed runs are counted by the server, and change slowly beside the rest
FORWARD = ("running", "waiting", "held")
NOT_BACK = f"SagaState IS NULL OR SagaState NOT IN ('{SagaState.COMPENSATING}', '{SagaState.STUCK}')"


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage as it is drawn, in column `at`. `note`: a status in words below it. Not `counted`: the server
    could not count. `guarded`: a breaker stands before it; `breaker` is set where that does not pass
    calls. `at_least`: the scan did not reach all runs."""

    at: int
    label: str
    total: Total
    tone: str
    note: str = ""
    counted: bool = True
    breaker: Breaker | None = None
    held: Total | None = None
    guarded: bool = False
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class PipelineView:
    """A pipeline as it is drawn: stages from left to right, and compensation from right to left."""

    title: str
    workflow_type: str
    forward: list[StageView]
    back: list[StageView]

    @property
    def roomy(self) -> bool:
        """Whether the breakers' words have room: there is one at most."""
        return sum(stage.breaker is not None for stage in self.forward) < 2


@dataclass(frozen=True, slots=True)
class Overview:
    """All pipelines, totals by condition, and the oldest of those that are stuck. `others`: open runs by
    type, of the types without a pipeline."""

    pipelines: list[PipelineView]
    totals: dict[str, Total]
    stuck: list[Row]
    others: list[tuple[str, int, str]]
    at: datetime

    @property
    def others_cut(self) -> bool:
        """Whether more types may be open than `others` has."""
        return len(self.others) >= MOST_OTHERS


def _filter(pipeline: extend.Pipeline, condition: str = "", *terms: Term) -> Filter:
    return Filter(workflow_type=pipeline.workflow_type, condition=condition, terms=terms)


def _ends(pipeline: extend.Pipeline) -> tuple[Filter, Filter]:
    """Filters of the two ends: completed, and compensated."""
    compensated = _filter(pipeline, "", Term("SagaState", "=", SagaState.COMPENSATED))
    return _filter(pipeline, "completed"), compensated


async def _count(viewer: Viewer, narrowed: Filter) -> int | None:
    """How many; None where this server lacks the attributes, or fails to count."""
    try:
        return await count(await client_for(viewer), compile_filter(narrowed, viewer).scoped)
    except (BadQuery, CallFailed):
        return None


async def _counts(viewer: Viewer) -> dict[str, list[int | None]]:
    """By workflow type: how many completed, and how many were compensated."""
    filters = {name: _ends(pipeline) for name, pipeline in extend.pipelines.items()}
    found = iter(await asyncio.gather(*(_count(viewer, end) for ends in filters.values() for end in ends)))
    return {name: [next(found), next(found)] for name in filters}


def _look(rows: Sequence[Row]) -> tuple[str, str]:
    """Tone and words of a stage by the worst of its runs."""
    conditions = Counter(row.condition for row in rows)
    paused = sum(row.condition is None for row in rows)
    if held := conditions["held"]:
        return "stop", "Held" if held == len(rows) else f"{held} held"
    soon = datetime.now(UTC) + timedelta(seconds=SOON_SECONDS)
    due = sum(row.deadline is not None and row.deadline < soon for row in rows if row.condition == "waiting")
    if conditions["waiting"]:
        return "wait", f"{due} due soon" if due else STATES["condition"]["waiting"].word
    if paused:
        return "wait", f"{paused} paused"
    return ("run", "") if rows else ("rest", "")


def _stage(
    at: int, stage: extend.Stage, pipeline: extend.Pipeline, scan: Scan, cards: dict[str, Breaker]
) -> StageView:
    """A stage with its open runs; `scan` has those that are on their way forward."""
    narrowed = _filter(pipeline, "", Term("Stage", "=", stage.name))
    url = list_url(scan.namespace, replace(narrowed, raw=both(OPEN_RUNS, NOT_BACK)))
    tone, note = _look([row for row in scan.rows if row.stage == stage.name])
    dependency = pipeline.breakers.get(stage.name, "")
    card = cards.get(dependency)
    return StageView(
        at,
        stage.label,
        replace(scan.by_stage(pipeline.workflow_type).get(stage.name, Total("")), url=url),
        tone,
        note,
        breaker=card if card and card.view.lamp in ("stop", "wait") else None,
        held=scan.held().get(dependency),
        guarded=bool(dependency),
        at_least=not scan.complete,
    )


def _back(pipeline: extend.Pipeline, scan: Scan, totals: dict[str, Total], first: int) -> list[StageView]:
    """What is being compensated, and what is stuck at it."""
    views = []
    shown = (
        ("Compensating", "compensating", ""),
        ("Needs a person", "stuck", STATES["condition"]["stuck"].word),
    )
    for at, (label, name, note) in enumerate(shown):
        total = replace(totals.get(name, Total("")), url=list_url(scan.namespace, _filter(pipeline, name)))
        tone = STATES["condition"][name].tone if total.count else "rest"
        views.append(StageView(first - at, label, total, tone, note if total.count else ""))
    return views


def _onward(scan: Scan, pipeline: extend.Pipeline) -> Scan:
    """The runs of a pipeline that are on their way forward. A paused one has no condition, and stays where it
    is."""
    mine = (row for row in scan.rows if row.workflow_type == pipeline.workflow_type)
    onward = [row for row in mine if row.condition in FORWARD or not (row.condition or _goes_back(row))]
    return replace(scan, rows=onward)


def _goes_back(row: Row) -> bool:
    return row.attributes.get("SagaState") in (SagaState.COMPENSATING, SagaState.STUCK)


def _pipeline_view(
    pipeline: extend.Pipeline,
    scan: Scan,
    totals: dict[str, Total],
    cards: dict[str, Breaker],
    counts: list[int | None],
) -> PipelineView:
    def end(at: int, label: str, which: int, tone: str) -> StageView:
        total = Total(list_url(scan.namespace, _ends(pipeline)[which]), counts[which] or 0)
        return StageView(at, label, total, tone, counted=counts[which] is not None)

    onward = _onward(scan, pipeline)
    # Runs do not stand in the last stage, they end there.
    forward = [
        _stage(at, stage, pipeline, onward, cards) for at, stage in enumerate(pipeline.stages[:-1], start=1)
    ]
    last = pipeline.stages[-1].label if pipeline.stages else "Completed"
    forward.append(end(len(forward) + 1, last, 0, "done"))
    # Compensation leaves after the guarded stages and needs three columns to the left of them.
    guarded = [stage.at for stage in forward if stage.guarded]
    first = max(3, min(guarded, default=4) - 1)
    back = [*_back(pipeline, scan, totals, first), end(first - 2, "Compensated", 1, "rest")]
    return PipelineView(pipeline.title, pipeline.workflow_type, forward, back)


async def _others(viewer: Viewer) -> list[tuple[str, int, str]]:
    """Open runs by type, for up to `MOST_OTHERS` types that have no pipeline: name, count and address."""
    client, scope = await client_for(viewer), for_viewer(viewer)
    names = await open_values(client, scope, "WorkflowType", list(extend.pipelines), MOST_OTHERS)
    filters = [Filter(workflow_type=name, raw=OPEN_RUNS) for name in names]
    numbers = await asyncio.gather(*(_count(viewer, narrowed) for narrowed in filters))
    rows = zip(names, numbers, filters, strict=True)
    found = [(name, number or 0, list_url(viewer.namespace, narrowed)) for name, number, narrowed in rows]
    return sorted(found, key=lambda item: -item[1])


async def _read(viewer: Viewer) -> Overview:
    scan, counts, others, known = await asyncio.gather(
        open_runs(viewer),
        cached_read("counts", viewer, lambda: _counts(viewer), fresh=COUNTS_FRESH),
        cached_read("other types", viewer, lambda: _others(viewer), fresh=COUNTS_FRESH),
        breakers.read(viewer),
    )
    cards = known.value.cards if known.value else []
    by_name, ends = {card.dependency: card for card in cards}, counts.value or {}
    totals, stuck = await asyncio.gather(condition_totals(viewer, scan), oldest_stuck(viewer, scan))
    by_type = await asyncio.gather(*(condition_totals(viewer, scan, name) for name in extend.pipelines))
    views = [
        _pipeline_view(pipeline, scan, of_type, by_name, ends.get(name, [None, None]))
        for (name, pipeline), of_type in zip(extend.pipelines.items(), by_type, strict=True)
    ]
    return Overview(views, totals, stuck[:STUCK_SHOWN], others.value or [], scan.at)


async def read(viewer: Viewer) -> Snapshot[Overview]:
    """The pipelines as far as this viewer may see them."""
    return await cached_read("overview", viewer, lambda: _read(viewer))


def _recent(viewer: Viewer) -> list[AuditEntry]:
    found = AuditEntry.objects.filter(namespace=viewer.namespace, phase=AuditEntry.Phase.OUTCOME)
    return list(for_viewer(viewer).rows(found)[:RECENT])


async def just_now(viewer: Viewer) -> list[AuditEntry] | None:
    """What people did last, the newest first; None for those who may not read the audit log."""
    return None if may(viewer, Verb.AUDIT) else await sync_to_async(_recent)(viewer)
