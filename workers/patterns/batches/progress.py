"""How far a long process is, batch by batch, and who paused or cancelled it. Pure: no clock, no Temporal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from workers.contracts import Decision, Outcome, Progress
from workers.patterns.batches.batches import ItemResult
from workers.patterns.decisions import DecisionResult

MAX_FAILED_ITEMS = 100  # kept; all are counted
MAX_ERROR = 300  # characters


class FailedItem(BaseModel):
    """An item that failed: its index in the whole, and why."""

    index: int
    error: str = ""


class ProgressState(BaseModel):
    """Items are handled in order, so `position` says which are done. Carry it through continue-as-new.

    checkpoint: the position of the last one. quarter: the last that was passed, 0 to 4.
    batch_end: index after the last item of the batch that is under way.
    """

    total: int = Field(ge=0)
    first: int = Field(0, ge=0)
    done: int = 0
    failed: int = 0
    started_at: datetime | None = None
    failed_items: list[FailedItem] = Field(default_factory=list)
    checkpoint: int = 0
    quarter: int = 0
    batch_end: int = 0

    @property
    def position(self) -> int:
        """Index of the next item."""
        return self.first + self.done + self.failed

    @property
    def over(self) -> bool:
        return self.position >= self.total

    def next_batch(self, size: int, every: int) -> range:
        """Indices of the next batch: it ends at the next checkpoint at the latest. Empty when all is done.

        After an attempt that did only a part it is the rest: if that never ends, no other items fail with it.
        """
        start = self.position
        if start >= self.batch_end:
            self.batch_end = min(start + size, (start // every + 1) * every)
        return range(start, min(self.batch_end, self.total))

    def record(self, results: Sequence[ItemResult]) -> bool:
        """Count the results of the next items. False, and nothing changes: they are of other items."""
        indices = [result.index for result in results]
        if not results or indices != list(range(self.position, self.position + len(results))):
            return False
        if indices[-1] >= self.total:
            return False
        wrong = [
            FailedItem(index=result.index, error=result.error[:MAX_ERROR])
            for result in results
            if result.error
        ]
        self.failed += len(wrong)
        self.done += len(results) - len(wrong)
        self.failed_items = [*self.failed_items, *wrong][:MAX_FAILED_ITEMS]
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


class PauseControl(BaseModel):
    """Pause, unpause and cancel of a long process: what a decision on each does.

    paused_by, cancelled_by: the actor, "" for one without a name; None: not paused, not cancelled.
    over: the process has ended, so nothing can be decided.
    """

    paused_by: str | None = None
    cancelled_by: str | None = None
    over: bool = Field(False, exclude=True)

    @property
    def paused(self) -> bool:
        return self.paused_by is not None

    @property
    def cancelled(self) -> bool:
        return self.cancelled_by is not None

    @property
    def stops(self) -> bool:
        """No further batch is to begin now."""
        return self.paused or self.cancelled

    def pause(self, decision: Decision) -> DecisionResult:
        if ended := self._ended():
            return ended
        if self.paused_by is not None:
            return Outcome.ALREADY_DECIDED, f"Paused already{_by(self.paused_by)}.", self.paused_by
        self.paused_by = decision.actor
        return Outcome.APPLIED, "It pauses after the batch that is under way.", ""

    def unpause(self, decision: Decision) -> DecisionResult:
        if ended := self._ended():
            return ended
        if self.paused_by is None:
            return Outcome.REFUSED, "It is not paused.", ""
        self.paused_by = None
        return Outcome.APPLIED, "It goes on.", ""

    def cancel(self, decision: Decision) -> DecisionResult:
        if ended := self._ended():
            return ended
        self.cancelled_by, self.paused_by = decision.actor, None
        return Outcome.APPLIED, "It stops after the batch that is under way.", ""

    def _ended(self) -> DecisionResult | None:
        """The result of any decision once it is over or cancelled."""
        if self.over:
            return Outcome.REFUSED, "It is over.", ""
        if self.cancelled_by is not None:
            return Outcome.ALREADY_DECIDED, f"Cancelled already{_by(self.cancelled_by)}.", self.cancelled_by
        return None


def _by(actor: str) -> str:
    return f" by {actor}" if actor else ""
