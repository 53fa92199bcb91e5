"""How held workflows are woken after a breaker closed: 1, 5, 25, ... at a time, until none is left. Pure."""

from __future__ import annotations

from pydantic import BaseModel

FIRST_BATCH = 1
BATCH_GROWTH = 5
LARGEST_BATCH = 625
PAUSE_SECONDS = 1.0
"""Between batches: time for the dependency to fall over again."""
LATER_SECONDS = (1.0, 2.0, 5.0, 15.0)
"""Pauses after passes that woke fewer than they might have. The list lags, and a process with an older state
may refuse a woken workflow; so it is over only after several such passes."""


class Release(BaseModel):
    """batch: how many to wake next; 0: no release is under way. short: passes in a row that woke fewer.
    failures: of calls, in a row, as of the last pass.
    """

    batch: int = 0
    short: int = 0
    failures: int = 0

    def begin(self) -> None:
        """From the first batch, whatever was going on."""
        self.batch, self.short, self.failures = FIRST_BATCH, 0, 0

    def again(self) -> None:
        """A call was refused since: look as often as after the closing, with the batch that it had."""
        self.batch, self.short = self.batch or FIRST_BATCH, 0

    def look_once(self) -> None:
        """A single pass: for a breaker that starts afresh, and does not know what an older one held."""
        self.batch, self.short = LARGEST_BATCH, len(LATER_SECONDS)

    def stop(self) -> None:
        self.batch = self.short = 0

    def passed(self, woken: int, failures: int) -> float:
        """A pass woke so many; seconds until the next, 0: it was the last. More failures than before: begin
        again with one."""
        failing, self.failures = failures > self.failures, failures
        if woken >= self.batch:
            self.short = 0
        elif self.short == len(LATER_SECONDS):
            self.stop()
            return 0
        else:
            self.short += 1
        if woken:
            self.batch = FIRST_BATCH if failing else min(self.batch * BATCH_GROWTH, LARGEST_BATCH)
        return LATER_SECONDS[self.short - 1] if self.short else PAUSE_SECONDS
