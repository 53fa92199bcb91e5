"""Progress: how far a long process is, batch by batch. Pure: no clock, no Temporal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, Field

from workers.contracts import Progress

KEPT = 100  # failed items; all are counted
LONGEST = 300  # characters of an error


class FailedItem(BaseModel):
    """An item that failed: its index in the whole, and why."""

    index: int
    error: str = ""


class ProgressState(BaseModel):
    """The books of one process. Items are handled in order, so `position` says all. Carry it through
    continue-as-new. `checkpoint`: the position of the last one; `quarter`: the last that was passed, 0 to 4.
    """

    total: int = Field(ge=0)
    first: int = Field(0, ge=0)
    done: int = 0
    failed: int = 0
    started_at: datetime | None = None
    failed_items: list[FailedItem] = Field(default_factory=list)
    checkpoint: int = 0
    quarter: int = 0

    @property
    def position(self) -> int:
        """Index of the next item."""
        return self.first + self.done + self.failed

    @property
    def over(self) -> bool:
        return self.position >= self.total

    def next_batch(self, size: int, every: int) -> range:
        """Indices of the next batch: it ends at the next checkpoint at the latest. Empty when all is done."""
        start = self.position
        return range(start, min(start + size, (start // every + 1) * every, self.total))

    def record(self, batch: range, errors: Mapping[int, str]) -> bool:
        """Count a batch; `errors` of its indices are failures. False, and nothing changes: not its turn."""
        if batch.start != self.position or not batch or batch.stop > self.total:
            return False
        wrong = [FailedItem(index=index, error=errors[index][:LONGEST]) for index in batch if index in errors]
        self.failed += len(wrong)
        self.done += len(batch) - len(wrong)
        self.failed_items = [*self.failed_items, *wrong][:KEPT]
        return True

    def end_at_position(self) -> None:
        """There are no more items than were handled."""
        self.total = self.position

    def reach_checkpoint(self, every: int) -> bool:
        """Is a checkpoint due? It is passed by asking."""
        due = self.position > self.checkpoint and (self.position % every == 0 or self.over)
        if due:
            self.checkpoint = self.position
        return due

    def reach_quarter(self) -> int:
        """The quarter (1 to 4) that was passed since the last question, or 0. Passed by asking."""
        whole = self.total - self.first
        now = 4 * (self.done + self.failed) // whole if whole else 4
        if now <= self.quarter:
            return 0
        self.quarter = now
        return now

    def too_many(self, share: float) -> bool:
        """Did more than this share (0 to 1) of what was handled fail?"""
        return self.failed > share * (self.done + self.failed)

    def status(self, *, paused: bool = False) -> Progress:
        """The answer of the query `get_progress`."""
        return Progress(
            total=self.total - self.first,
            done=self.done,
            failed=self.failed,
            started_at=self.started_at,
            failed_items=[f"{item.index}: {item.error}" for item in self.failed_items],
            paused=paused,
        )
