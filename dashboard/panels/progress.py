"""The progress panel: how much of a batch is done, what failed, and about when it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dashboard.extend import Panel, register
from dashboard.states import look
from workers.contracts import Progress, Query

SHOWN = 20
LONGEST = 200  # characters of an item
FARTHEST_MINUTES = 10 * 365 * 24 * 60


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A batch. `pace` is items a minute since the start, `ends` an estimate from it; None while
    nothing can be estimated. Pauses count as time, as the contract has no field for them."""

    status: Progress
    tone: str
    word: str
    ends: datetime | None
    pace: float | None
    failed: list[str]

    @property
    def failed_left_out(self) -> int:
        """How many failed beyond those in `failed`."""
        return max(0, self.status.failed - len(self.failed), len(self.status.failed_items) - len(self.failed))

    @property
    def failed_words(self) -> str:
        """`3 failed`."""
        return f"{self.status.failed:,} failed"


def _pace(status: Progress, now: datetime) -> float | None:
    """Items a minute. Only while it works: the contract does not tell since when it is paused or done."""
    handled = status.done + status.failed
    if status.started_at is None or handled <= 0 or status.total <= handled or status.paused:
        return None
    started = status.started_at if status.started_at.tzinfo else status.started_at.replace(tzinfo=UTC)
    minutes = (now - started).total_seconds() / 60
    return handled / minutes if minutes > 0 else None


def _ends(status: Progress, pace: float | None, now: datetime) -> datetime | None:
    if not pace:
        return None
    minutes = (status.total - status.done - status.failed) / pace
    return now + timedelta(minutes=min(minutes, FARTHEST_MINUTES))


def draw(status: Progress) -> ProgressView:
    """The panel of a batch."""
    over = status.total > 0 and status.done + status.failed >= status.total
    shown = look("paused" if status.paused else "finished" if over else "running", "progress")
    failed = [
        item if isinstance(item, str) else json.dumps(item, default=str)
        for item in status.failed_items[:SHOWN]
    ]
    now = datetime.now(UTC)
    pace = _pace(status, now)
    ends = _ends(status, pace, now)
    return ProgressView(status, shown.tone, shown.word, ends, pace, [text[:LONGEST] for text in failed])


register(
    Panel(
        query=Query.PROGRESS,
        title="Progress",
        template="dashboard/panels/progress.html",
        model=Progress,
        draw=lambda run, status: draw(status),
        order=40,
    )
)
