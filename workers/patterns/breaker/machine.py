"""The breaker's state machine, serialisable. Pure: it has no clock and meets nobody.

The breaker workflow keeps the machine; each worker process has a copy, which it moves by its own reports at
once and replaces by newer states of the workflow. After M. Nygard, "Release It!": CLOSED counts failures,
OPEN refuses, HALF_OPEN lets one probe through. A person may hold it OPEN or CLOSED for a while.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, Field

from workers.contracts import CircuitState, CircuitStatus, Forced, Transition
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.window import Bucket, counted, totals

PICKUP_SECONDS = 10.0
"""How long a lease waits for somebody to begin with it; then another workflow is asked."""
LEASE_SECONDS = 30.0
"""How long a probe that began may take."""
MOST_PROBES = 3
"""Leases of one HALF_OPEN that may come to nothing before it opens again."""
LOOK_LATER_SECONDS = (15.0, 60.0)
HEARD_SECONDS = 60.0
MOST_PROCESSES = 200
MOST_TRANSITIONS = 20
MOST_NAMES = 20
LONGEST_ERROR = 500


class Machine(BaseModel):
    """The whole state. Times are given by the caller (aware).

    `lent`: the leases of this epoch, of which each may answer; `silent` of them came to nothing, and
    `passed_over` names who had those. `empty`: how often nobody was there to take one. `heard`: when each
    process reported last. `judged` is the window of the failure rate, which begins anew with each closing;
    `window` is what is shown.
    """

    config: BreakerConfig
    state: CircuitState = CircuitState.CLOSED
    epoch: int = 1
    failure_count: int = 0
    last_failure_time: datetime | None = None
    last_error: str | None = None
    opened_at: datetime | None = None
    opened_times: int = 0
    closed_at: datetime | None = None
    next_probe_at: datetime | None = None
    forced: Forced | None = None
    lease: str | None = None
    lease_until: datetime | None = None
    holder: str | None = None
    lent: list[str] = Field(default_factory=list)
    silent: int = 0
    empty: int = 0
    passed_over: list[str] = Field(default_factory=list)
    refusals: int = 0
    seen: dict[str, int] = Field(default_factory=dict)
    heard: dict[str, datetime] = Field(default_factory=dict)
    window: list[Bucket] = Field(default_factory=list)
    judged: list[Bucket] = Field(default_factory=list)
    transitions: list[Transition] = Field(default_factory=list)

    def report(self, report: Report, now: datetime) -> None:
        """Merge a report. Doubled and overtaken ones change nothing; those of an older epoch only count."""
        if report.seq <= self.seen.get(report.process, 0):
            return
        self._remember(report, now)
        self._count(report, now)
        if self.state is CircuitState.HALF_OPEN:
            self.refusals += report.refused
        if self.forced:
            return
        if report.lease:
            self._probed(report, now)
        elif self.state is CircuitState.CLOSED and report.epoch in (0, self.epoch):
            self._closed(report, now)

    def tick(self, now: datetime) -> None:
        """Do what time asks for: a forced state or OPEN is over, or the probe did not answer."""
        if self.forced:
            if self.forced.until and now >= self.forced.until:
                self.unforce(now, "The forced state has run out.")
        elif self.state is CircuitState.OPEN and self.next_probe_at and now >= self.next_probe_at:
            self.half_open(now, "The wait is over; a probe decides.")
        elif self.lease and self.lease_until and now >= self.lease_until:
            if self.lease in self.lent:
                self._lost(now)
            else:
                self._open(now, "The probe did not answer in time.")

    def half_open(self, now: datetime, why: str) -> None:
        """From now on a probe decides."""
        self._go(CircuitState.HALF_OPEN, now, why)

    def lend(self, lease: str, now: datetime, *, patient: bool = True) -> None:
        """HALF_OPEN: from now on the holder of `lease` is admitted, and nobody else.

        Without `patient` (runs that began with an older build) a lease that comes to nothing opens at once.
        """
        self.lease, self.holder = lease, None
        self.lease_until = now + timedelta(seconds=PICKUP_SECONDS if patient else LEASE_SECONDS)
        if patient:
            self.lent = [*self.lent, lease][-MOST_NAMES:]

    def held_by(self, lease: str, holder: str, now: datetime) -> None:
        """Name the workflow that probes, whose time begins; without effect when its answer came first."""
        if self.lease == lease:
            self.holder = holder
            if self.lease_until and lease in self.lent:
                self.lease_until = max(self.lease_until, now + timedelta(seconds=PICKUP_SECONDS))

    def take_back(self) -> None:
        """Nobody has the lease any more."""
        self.lease = self.lease_until = self.holder = None

    def nobody(self, now: datetime) -> datetime | None:
        """Nobody is there to probe, as far as the list shows, which lags. Returns when to look again; None:
        not before somebody is refused."""
        self.take_back()
        self.empty += 1
        later = LOOK_LATER_SECONDS[self.empty - 1 :]
        return now + timedelta(seconds=later[0]) if later else None

    def force(self, state: CircuitState, by: str, reason: str, until: datetime, now: datetime) -> None:
        """Hold it OPEN or CLOSED until then, whatever is reported. It replaces what was forced before."""
        word = "closed" if state is CircuitState.CLOSED else "open"
        self._go(state, now, f"Forced {word} by {by}: {reason}"[:LONGEST_ERROR])
        self.forced = Forced(state=state, by=by, reason=reason, until=until)
        self.failure_count, self.next_probe_at, self.judged = 0, None, []
        self.opened_at = now if state is CircuitState.OPEN else None

    def unforce(self, now: datetime, why: str) -> None:
        """Back to its own view: from OPEN to a probe, from CLOSED to counting anew."""
        forced, self.forced = self.forced, None
        if forced and forced.state == CircuitState.OPEN:
            self.half_open(now, why)
        elif forced:
            self._close(now, why)

    def configure(self, config: BreakerConfig, now: datetime) -> None:
        """Take new numbers over; an OPEN breaker keeps its appointment unless that gets earlier."""
        self.config = config
        if self.forced:
            return
        if self.state is CircuitState.OPEN and self.opened_at and self.next_probe_at:
            sooner = self.opened_at + timedelta(seconds=config.open_for(self.opened_times))
            self.next_probe_at = min(self.next_probe_at, sooner)
        elif self.state is CircuitState.CLOSED:
            self._judge(now)

    def status(self) -> CircuitStatus:
        """The answer of `get_circuit_status`; the window is of those parts of it that had calls."""
        known = self.model_dump(include=set(CircuitStatus.model_fields))
        calls, failures = totals(self.window)
        return CircuitStatus(
            **{**self.config.model_dump(), **known},
            probe_lease=self.lease,
            probe_holder=self.holder,
            calls=calls,
            failures=failures,
            processes=len(self.heard),
        )

    @classmethod
    def of(cls, status: CircuitStatus) -> Machine:
        """A copy for a process: what admission needs. ValueError for a state that is none."""
        given = status.model_dump(include=set(BreakerConfig.model_fields))
        config = BreakerConfig.model_construct(**{**given, "threshold": status.threshold or 1})
        known = status.model_dump(include={"epoch", "failure_count", "opened_at", "next_probe_at"})
        state, lease = CircuitState(status.state), status.probe_lease
        return cls.model_construct(config=config, state=state, forced=status.forced, lease=lease, **known)

    def _remember(self, report: Report, now: datetime) -> None:
        self.seen.pop(report.process, None)
        self.seen[report.process] = report.seq
        while len(self.seen) > MOST_PROCESSES:
            del self.seen[next(iter(self.seen))]
        oldest = now - timedelta(seconds=HEARD_SECONDS)
        heard = {process: at for process, at in self.heard.items() if at > oldest and process in self.seen}
        self.heard = {**heard, report.process: now}

    def _count(self, report: Report, now: datetime) -> None:
        span, failures = self.config.window_seconds, min(report.failures, report.calls)
        self.window = counted(self.window, now, span, report.calls, failures)
        if failures:
            self.last_failure_time = now
            self.last_error = report.last_error[:LONGEST_ERROR] or self.last_error

    def _closed(self, report: Report, now: datetime) -> None:
        """A success anywhere ends the row, as the dependency answered; then only later failures count."""
        if self.closed_at and now - self.closed_at >= timedelta(seconds=self.config.window_seconds):
            self.opened_times = 0
        failures = min(report.failures, report.calls)
        row = self.failure_count + failures
        self.failure_count = min(report.tail, failures) if report.calls > failures else row
        self.judged = counted(self.judged, now, self.config.window_seconds, report.calls, failures)
        self._judge(now)

    def _judge(self, now: datetime) -> None:
        config = self.config
        calls, failures = totals(self.judged)
        if self.failure_count >= config.threshold:
            self._open(now, f"{self.failure_count} failures in a row.")
        elif config.failing(calls, failures):
            self._open(now, f"{failures} of {calls} calls failed.")

    def _probed(self, report: Report, now: datetime) -> None:
        current = report.lease == self.lease
        if self.state is not CircuitState.HALF_OPEN or not (current or report.lease in self.lent):
            return
        if report.healthy:
            self._close(now, "The probe succeeded.")
        elif report.healthy is False:
            self._open(now, "The probe failed.")
        elif current and report.began:
            self.lease_until = now + timedelta(seconds=LEASE_SECONDS)
        elif current:
            self._lost(now)

    def _lost(self, now: datetime) -> None:
        """The lease came to nothing, which says nothing of the dependency: a few times, another is asked."""
        self.silent += 1
        if self.holder:
            self.passed_over = [*self.passed_over, self.holder][-MOST_NAMES:]
        if self.silent >= MOST_PROBES:
            self._open(now, "No probe gave an answer.")
        else:
            self.take_back()

    def _close(self, now: datetime, why: str) -> None:
        self._go(CircuitState.CLOSED, now, why)
        self.failure_count, self.judged, self.passed_over = 0, [], []
        self.opened_at, self.next_probe_at, self.closed_at = None, None, now

    def _open(self, now: datetime, why: str) -> None:
        self._go(CircuitState.OPEN, now, why)
        self.opened_times += 1
        self.opened_at = now
        self.next_probe_at = now + timedelta(seconds=self.config.open_for(self.opened_times))

    def _go(self, state: CircuitState, now: datetime, why: str) -> None:
        self.state = state
        self.epoch += 1
        self.refusals = self.silent = self.empty = 0
        self.lent = []
        self.take_back()
        self.transitions = [*self.transitions, Transition(at=now, state=state, why=why)][-MOST_TRANSITIONS:]
