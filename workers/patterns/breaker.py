"""The shared breaker: one state machine for all processes that call a dependency. Pure: it has no clock.

The breaker workflow keeps the machine; each worker process has a copy, which it moves by its own reports at
once and replaces by newer states of the workflow. After M. Nygard, "Release It!": CLOSED counts failures in a
row, OPEN refuses, HALF_OPEN lets one probe through.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, Field
from temporalio.exceptions import ApplicationError

from workers.contracts import CircuitState, CircuitStatus, Transition

QUEUE = "breaker-queue"
WORKFLOW_TYPE = "BreakerWorkflow"
LEASE_HEADER = "signalbox-lease"
CIRCUIT_OPEN = "CircuitOpen"
UNAVAILABLE = "DependencyUnavailable"
LEASE_SECONDS = 30.0
WINDOW_SECONDS = 300.0
MOST_PROCESSES = 200
MOST_TRANSITIONS = 20

F = TypeVar("F", bound=Callable[..., Any])

current_lease: ContextVar[str] = ContextVar("signalbox_lease", default="")
"""Set by workflow code around the activity that is the probe; the outbound interceptor makes it a header."""


class BreakerConfig(BaseModel):
    """`threshold` failures in a row open the breaker; after `open_seconds` it asks for a probe."""

    dependency: str = Field(pattern=r"^[a-z0-9_-]{1,60}$")
    threshold: int = Field(5, ge=1)
    open_seconds: float = Field(300, gt=0)


class Report(BaseModel):
    """What one process saw of one dependency since its last report.

    `seq` grows by one a report; `epoch` is the machine's when the calls were admitted (0: not known).
    `failures` of `calls`; `tail`: failures in a row at the end. `refused`: calls refused while HALF_OPEN.
    `lease` with `healthy`: what the probe found.
    """

    process: str = ""
    seq: int = 0
    epoch: int = 0
    calls: int = 0
    failures: int = 0
    tail: int = 0
    refused: int = 0
    last_error: str = ""
    lease: str = ""
    healthy: bool | None = None


class Bucket(BaseModel):
    """Calls and failures of one minute."""

    start: datetime
    calls: int = 0
    failures: int = 0


class Machine(BaseModel):
    """The whole state, serialisable. Times are given by the caller (aware); nothing here looks at a clock."""

    config: BreakerConfig
    state: CircuitState = CircuitState.CLOSED
    epoch: int = 1
    failure_count: int = 0
    last_failure_time: datetime | None = None
    last_error: str | None = None
    opened_at: datetime | None = None
    next_probe_at: datetime | None = None
    lease: str | None = None
    lease_until: datetime | None = None
    holder: str | None = None
    refusals: int = 0
    seen: dict[str, int] = Field(default_factory=dict)
    window: list[Bucket] = Field(default_factory=list)
    transitions: list[Transition] = Field(default_factory=list)

    def report(self, report: Report, now: datetime) -> None:
        """Merge a report. Doubled and overtaken ones change nothing; those of an older epoch only count."""
        if report.seq <= self.seen.get(report.process, 0):
            return
        self._remember(report)
        self._count(report, now)
        if report.refused and self.state is CircuitState.HALF_OPEN:
            self.refusals += report.refused
        if report.lease:
            self._probed(report, now)
        elif self.state is CircuitState.CLOSED and report.epoch in (0, self.epoch):
            self._closed(report, now)

    def tick(self, now: datetime) -> None:
        """Do what time asks for: OPEN is over, or the probe did not answer."""
        if self.state is CircuitState.OPEN and self.next_probe_at and now >= self.next_probe_at:
            self._go(CircuitState.HALF_OPEN, now, "The wait is over; a probe decides.")
        elif self.lease and self.lease_until and now >= self.lease_until:
            self._open(now, "The probe did not answer in time.")

    def lend(self, lease: str, now: datetime) -> None:
        """HALF_OPEN: from now on the holder of `lease` is admitted, and nobody else."""
        self.lease, self.lease_until = lease, now + timedelta(seconds=LEASE_SECONDS)

    def held_by(self, lease: str, holder: str) -> None:
        """Name the workflow that probes; without effect when its answer came first."""
        if self.lease == lease:
            self.holder = holder

    def take_back(self) -> None:
        """Nobody is there to probe."""
        self.lease = self.lease_until = self.holder = None

    def configure(self, config: BreakerConfig, now: datetime) -> None:
        """Take new numbers over; an OPEN breaker keeps its appointment unless that gets earlier."""
        self.config = config
        if self.state is CircuitState.OPEN and self.opened_at and self.next_probe_at:
            sooner = self.opened_at + timedelta(seconds=config.open_seconds)
            self.next_probe_at = min(self.next_probe_at, sooner)
        elif self.state is CircuitState.CLOSED and self.failure_count >= config.threshold:
            self._open(now, f"{self.failure_count} failures in a row.")

    def status(self) -> CircuitStatus:
        """The answer of `get_circuit_status`; the window is the minutes that had calls, five at most."""
        own = self.model_dump(
            exclude={"config", "lease", "lease_until", "holder", "refusals", "seen", "window"}
        )
        return CircuitStatus(
            **own,
            dependency=self.config.dependency,
            threshold=self.config.threshold,
            open_seconds=self.config.open_seconds,
            probe_lease=self.lease,
            probe_holder=self.holder,
            calls=sum(bucket.calls for bucket in self.window),
            failures=sum(bucket.failures for bucket in self.window),
        )

    @classmethod
    def of(cls, status: CircuitStatus) -> Machine:
        """A copy for a process, from the breaker's answer: what admission needs."""
        config = BreakerConfig(
            dependency=status.dependency, threshold=status.threshold, open_seconds=status.open_seconds
        )
        known = status.model_dump(include={"state", "epoch", "failure_count", "opened_at", "next_probe_at"})
        return cls(config=config, lease=status.probe_lease, **known)

    def _remember(self, report: Report) -> None:
        self.seen.pop(report.process, None)
        self.seen[report.process] = report.seq
        while len(self.seen) > MOST_PROCESSES:
            del self.seen[next(iter(self.seen))]

    def _count(self, report: Report, now: datetime) -> None:
        oldest = now - timedelta(seconds=WINDOW_SECONDS)
        self.window = [bucket for bucket in self.window if bucket.start > oldest]
        if report.calls:
            minute = now.replace(second=0, microsecond=0)
            if not self.window or self.window[-1].start != minute:
                self.window.append(Bucket(start=minute))
            self.window[-1].calls += report.calls
            self.window[-1].failures += report.failures
        if report.failures:
            self.last_failure_time, self.last_error = now, report.last_error or self.last_error

    def _closed(self, report: Report, now: datetime) -> None:
        """A success anywhere ends the row, as the dependency answered; then only later failures count."""
        succeeded = report.calls > report.failures
        self.failure_count = report.tail if succeeded else self.failure_count + report.failures
        if self.failure_count >= self.config.threshold:
            self._open(now, f"{self.failure_count} failures in a row.")

    def _probed(self, report: Report, now: datetime) -> None:
        if self.state is not CircuitState.HALF_OPEN or report.lease != self.lease:
            return
        if report.healthy:
            self.failure_count = 0
            self._go(CircuitState.CLOSED, now, "The probe succeeded.")
            self.opened_at = self.next_probe_at = None
        else:
            self._open(now, "The probe failed.")

    def _open(self, now: datetime, why: str) -> None:
        self._go(CircuitState.OPEN, now, why)
        self.opened_at = now
        self.next_probe_at = now + timedelta(seconds=self.config.open_seconds)

    def _go(self, state: CircuitState, now: datetime, why: str) -> None:
        self.state = state
        self.epoch += 1
        self.refusals = 0
        self.take_back()
        self.transitions = [*self.transitions, Transition(at=now, state=state, why=why)][-MOST_TRANSITIONS:]


def breaker_id(dependency: str) -> str:
    """The workflow id of a dependency's breaker."""
    return f"breaker-{dependency}"


def guarded(dependency: str) -> Callable[[F], F]:
    """Put an activity behind the breaker of `dependency`. Never put a compensation behind one."""

    def mark(fn: F) -> F:
        fn.__signalbox_dependency__ = dependency  # type: ignore[attr-defined]
        return fn

    return mark


def dependency_of(fn: Callable[..., Any]) -> str:
    """The dependency that an activity is guarded for, or ""."""
    return str(getattr(fn, "__signalbox_dependency__", ""))


def circuit_open(dependency: str, attempt: int) -> ApplicationError:
    """The refusal. `attempt` is the activity's: 1 says that this call never reached the dependency at all."""
    message = f"The breaker of {dependency} is open."
    return ApplicationError(message, dependency, attempt, type=CIRCUIT_OPEN, non_retryable=True)
