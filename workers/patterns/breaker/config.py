"""What a breaker works with: its settings, and the reports of the processes that call the dependency."""

from __future__ import annotations

from pydantic import BaseModel, Field


class BreakerConfig(BaseModel):
    """When the breaker of `dependency` opens, and for how long. All times are seconds.

    `threshold` failures in a row open it, or a share of `failure_rate` (0 to 1; 0: the rate does not open
    it) of at least `minimum_calls` calls within `window_seconds`. It requests a probe after `open_seconds`;
    every opening in a row multiplies that by `open_growth`, up to `open_seconds_max`.
    """

    dependency: str = Field(pattern=r"^[a-z0-9_-]{1,60}$")
    threshold: int = Field(5, ge=1)
    open_seconds: float = Field(300, gt=0)
    failure_rate: float = Field(0, ge=0, le=1)
    minimum_calls: int = Field(20, ge=1)
    window_seconds: float = Field(300, ge=1, le=86_400)
    open_growth: float = Field(1, ge=1, le=10)
    open_seconds_max: float = Field(3_600, gt=0)

    def open_for(self, opened_times: int) -> float:
        """Seconds until the probe, of this opening in a row (1: the first)."""
        grown = self.open_seconds * self.open_growth ** min(max(0, opened_times - 1), 64)
        return min(grown, max(self.open_seconds, self.open_seconds_max))

    def failing(self, calls: int, failures: int) -> bool:
        """Whether `failures` of `calls` within the window open the breaker."""
        applies = bool(self.failure_rate and failures) and calls >= self.minimum_calls
        return applies and failures >= self.failure_rate * calls


class Report(BaseModel):
    """What one process saw of one dependency since its last report.

    seq: grows by one with each report of a process.
    epoch: the machine's when the calls were admitted; 0: not known.
    calls, failures, tail: `failures` of `calls`, and how many in a row at the end.
    refused: calls of workflows that wait for `resume`, refused and not reported before.
    lease: the probe's. `healthy`: what it found; None: it has `began`, or else the lease is given back.
    claim: a lease that a call wants, where `claimable`; holder: the workflow of that call.
    """

    process: str = Field("", max_length=100)
    seq: int = 0
    epoch: int = 0
    calls: int = Field(0, ge=0)
    failures: int = Field(0, ge=0)
    tail: int = Field(0, ge=0)
    refused: int = Field(0, ge=0)
    last_error: str = ""
    lease: str = ""
    healthy: bool | None = None
    began: bool = False
    claim: str = Field("", max_length=100)
    holder: str = Field("", max_length=1_000)
