"""The progress panel: how much of a batch is done, what failed, and about when it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workers.contracts import Progress

SHOWN = 20
LONGEST = 200  # characters of an item


@dataclass(frozen=True, slots=True)
class Bar:
    """A batch. `ends` is an estimate from the pace so far; None while nothing can be said."""

    status: Progress
    s: str
    word: str
    ends: datetime | None
    failed: list[str]

    @property
    def failed_words(self) -> str:
        """`3 failed`."""
        return f"{self.status.failed:,} failed"


def _ends(status: Progress) -> datetime | None:
    handled = status.done + status.failed
    if status.started_at is None or handled <= 0 or status.total <= handled or status.paused:
        return None
    started = status.started_at if status.started_at.tzinfo else status.started_at.replace(tzinfo=UTC)
    now = datetime.now(UTC)
    seconds = (now - started).total_seconds() * (status.total - handled) / handled
    return now + timedelta(seconds=min(seconds, 10 * 365 * 86_400)) if seconds > 0 else None


def draw(status: Progress) -> Bar:
    """The panel of a batch."""
    over = status.total > 0 and status.done + status.failed >= status.total
    s, word = ("rest", "Paused") if status.paused else ("done", "Through") if over else ("run", "Running")
    failed = [
        item if isinstance(item, str) else json.dumps(item, default=str)
        for item in status.failed_items[:SHOWN]
    ]
    return Bar(status, s, word, _ends(status), [text[:LONGEST] for text in failed])
