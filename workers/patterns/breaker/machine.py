"""The breaker's state machine, serialisable. Pure: no clock, no network.

The breaker workflow keeps the machine; each worker process has a copy, which it moves by its own reports at
once and replaces by newer states of the workflow. After M. Nygard, "Release It!": CLOSED counts failures,
OPEN refuses, HALF_OPEN lets one probe through. A person may force it OPEN or CLOSED for a while.

The probe is a call that carries the lease. The breaker workflow offers the lease to a workflow that it holds;
when none is found that uses it, any call may claim it (`claimable`), so it closes again whatever calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, Field

from workers.contracts import CircuitState, CircuitStatus, Forced, Transition
from workers.patterns.breaker.config import BreakerConfig, Report

PICKUP_SECONDS = 10.0
"""How long a lease waits for its call to begin; then another workflow gets one."""
LEASE_SECONDS = 30.0
"""How long a probe that began may take."""
MAX_UNANSWERED = 3
"""Leases of one HALF_OPEN that may come to nothing before it opens again."""
SEARCH_AGAIN_SECONDS = (15.0, 60.0)
"""After searches that found no held workflow: the list lags."""
PROCESS_TTL_SECONDS = 60.0
"""A process that has not reported for so long is not counted."""
MAX_PROCESSES = 200
MAX_TRANSITIONS = 20
MAX_NAMES = 20
MAX_ERROR_LENGTH = 500
BUCKETS = 5


class Bucket(BaseModel):
    """Calls and failures of a fifth of the window, from `start` on."""

    start: datetime
    calls: int = 0
    failures: int = 0


def add_calls(
    window: Sequence[Bucket], now: datetime, span: float, calls: int = 0, failures: int = 0
) -> list[Bucket]:
    """The window of `span` seconds with these calls of now added, and without what is older."""
    oldest = now - timedelta(seconds=span)
    kept = [bucket for bucket in window if bucket.start > oldest]
    if calls:
        if not kept or now - kept[-1].start >= timedelta(seconds=span / BUCKETS):
            kept.append(Bucket(start=now))
        last = kept[-1]
        grown = {"calls": last.calls + calls, "failures": last.failures + min(failures, calls)}
        kept[-1] = last.model_copy(update=grown)
    return kept


def sum_calls(window: Sequence[Bucket]) -> tuple[int, int]:
    """Calls and failures of all buckets."""
    return sum(bucket.calls for bucket in window), sum(bucket.failures for bucket in window)


class Machine(BaseModel):
    """The whole state. Times are given by the caller (aware).

    epoch: grows with each change of state; reports name the one in which their calls were admitted.
    lease_used: a call is known to carry the lease: it claimed it, or has begun.
    issued_leases: the leases of this epoch, of which each may answer.
    unanswered: how many of them came to nothing; `skipped` are the workflows that had those.
    empty_searches: searches of this epoch that found no held workflow to probe.
    refusals: refused calls that were reported in this HALF_OPEN.
    seen, last_reports: by process, the number and the time of its last report.
    window: the calls that are shown; rate_window: those since the last closing, for the failure rate.
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
    lease_used: bool = False
    holder: str | None = None
    issued_leases: list[str] = Field(default_factory=list)
    unanswered: int = 0
    empty_searches: int = 0
    skipped: list[str] = Field(default_factory=list)
    refusals: int = 0
    seen: dict[str, int] = Field(default_factory=dict)
    last_reports: dict[str, datetime] = Field(default_factory=dict)
    window: list[Bucket] = Field(default_factory=list)
    rate_window: list[Bucket] = Field(default_factory=list)
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
        if report.claim and self.claimable:
            self.grant_lease(report.claim, now)
            self.lease_used, self.holder = True, report.holder or None
        if report.lease:
            self._probe_answered(report, now)
        elif self.state is CircuitState.CLOSED and report.epoch in (0, self.epoch):
            self._count_calls(report, now)

    @property
    def due(self) -> datetime | None:
        """When `tick` has something to do; None: time changes nothing."""
        if self.forced:
            return self.forced.until
        return self.next_probe_at if self.state is CircuitState.OPEN else self.lease_until

    def tick(self, now: datetime) -> None:
        """Do what is due: a forced state or OPEN is over, or the probe did not answer."""
        if self.due is None or now < self.due:
            return
        if self.forced:
            self.unforce(now, "The forced state has run out.")
        elif self.state is CircuitState.OPEN:
            self.half_open(now, "The wait is over; a probe decides.")
        else:
            self._lease_expired(now)

    def half_open(self, now: datetime, why: str) -> None:
        """From now on a probe decides."""
        self._go(CircuitState.HALF_OPEN, now, why)

    @property
    def claimable(self) -> bool:
        """May any call claim the lease? Only when no held workflow was found to probe, or one that was did
        not use its lease, as the next may not either."""
        if self.state is not CircuitState.HALF_OPEN or self.forced or self.lease_used:
            return False
        return self.unanswered > 0 or (self.lease is None and self.empty_searches > 0)

    def grant_lease(self, lease: str, now: datetime) -> None:
        """HALF_OPEN: from now on only the call that carries `lease` is admitted."""
        self.lease, self.lease_used, self.holder = lease, False, None
        self.lease_until = now + timedelta(seconds=PICKUP_SECONDS)
        self.issued_leases = [*self.issued_leases, lease][-MAX_NAMES:]

    def assign_probe(self, lease: str, holder: str, now: datetime) -> None:
        """Name the workflow that probes, whose time begins; without effect when its answer came first."""
        if self.lease == lease:
            self.holder = holder
            self.lease_until = max(self.lease_until or now, now + timedelta(seconds=PICKUP_SECONDS))

    def revoke_lease(self) -> None:
        """No call has the lease any more."""
        self.lease = self.lease_until = self.holder = None
        self.lease_used = False

    def no_candidate(self, now: datetime) -> datetime | None:
        """No held workflow was found to probe, so any call may. Returns when to search again; None: not
        before a refused call is reported."""
        self.revoke_lease()
        self.empty_searches += 1
        later = SEARCH_AGAIN_SECONDS[self.empty_searches - 1 :]
        return now + timedelta(seconds=later[0]) if later else None

    def force(self, state: CircuitState, by: str, reason: str, until: datetime, now: datetime) -> None:
        """Hold it OPEN or CLOSED until then, whatever is reported. It replaces what was forced before."""
        word = "closed" if state is CircuitState.CLOSED else "open"
        self._go(state, now, f"Forced {word} by {by}: {reason}"[:MAX_ERROR_LENGTH])
        self.forced = Forced(state=state, by=by, reason=reason, until=until)
        self.failure_count, self.next_probe_at, self.rate_window = 0, None, []
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
            self._open_if_failing(now)

    def status(self) -> CircuitStatus:
        """The answer of `get_circuit_status`; the window is of those parts of it that had calls."""
        known = self.model_dump(include=set(CircuitStatus.model_fields))
        calls, failures = sum_calls(self.window)
        return CircuitStatus(
            **{**self.config.model_dump(), **known},
            probe_lease=self.lease,
            probe_holder=self.holder,
            probe_claimable=self.claimable,
            calls=calls,
            failures=failures,
            processes=len(self.last_reports),
        )

    @classmethod
    def of(cls, status: CircuitStatus) -> Machine:
        """A copy for a process: what admission needs. ValueError for a state that is none."""
        given = status.model_dump(include=set(BreakerConfig.model_fields))
        config = BreakerConfig.model_construct(**{**given, "threshold": status.threshold or 1})
        known = status.model_dump(include={"epoch", "failure_count", "opened_at", "next_probe_at"})
        return cls.model_construct(
            config=config,
            state=CircuitState(status.state),
            forced=status.forced,
            lease=status.probe_lease,
            unanswered=int(status.probe_claimable),
            lease_used=not status.probe_claimable,
            **known,
        )

    def _remember(self, report: Report, now: datetime) -> None:
        self.seen.pop(report.process, None)
        self.seen[report.process] = report.seq
        while len(self.seen) > MAX_PROCESSES:
            del self.seen[next(iter(self.seen))]
        oldest = now - timedelta(seconds=PROCESS_TTL_SECONDS)
        recent = {name: at for name, at in self.last_reports.items() if at > oldest and name in self.seen}
        self.last_reports = {**recent, report.process: now}

    def _count(self, report: Report, now: datetime) -> None:
        span, failures = self.config.window_seconds, min(report.failures, report.calls)
        self.window = add_calls(self.window, now, span, report.calls, failures)
        if failures:
            self.last_failure_time = now
            self.last_error = report.last_error[:MAX_ERROR_LENGTH] or self.last_error

    def _count_calls(self, report: Report, now: datetime) -> None:
        """A success anywhere ends the row, as the dependency answered; then only later failures count."""
        if self.closed_at and now - self.closed_at >= timedelta(seconds=self.config.window_seconds):
            self.opened_times = 0
        calls, failures = report.calls, min(report.failures, report.calls)
        in_a_row = self.failure_count + failures
        self.failure_count = min(report.tail, failures) if calls > failures else in_a_row
        self.rate_window = add_calls(self.rate_window, now, self.config.window_seconds, calls, failures)
        self._open_if_failing(now)

    def _open_if_failing(self, now: datetime) -> None:
        config = self.config
        calls, failures = sum_calls(self.rate_window)
        if self.failure_count >= config.threshold:
            self._open(now, f"{self.failure_count} failures in a row.")
        elif config.failing(calls, failures):
            self._open(now, f"{failures} of {calls} calls failed.")

    def _probe_answered(self, report: Report, now: datetime) -> None:
        current = report.lease == self.lease
        if self.state is not CircuitState.HALF_OPEN or not (current or report.lease in self.issued_leases):
            return
        if report.healthy:
            self._close(now, "The probe succeeded.")
        elif report.healthy is False:
            self._open(now, "The probe failed.")
        elif current and report.began:
            self.lease_used = True
            self.lease_until = now + timedelta(seconds=LEASE_SECONDS)
        elif current:
            self._lease_expired(now)

    def _lease_expired(self, now: datetime) -> None:
        """The lease brought no answer of the dependency: another workflow gets one, a few times."""
        self.unanswered += 1
        if self.holder:
            self.skipped = [*self.skipped, self.holder][-MAX_NAMES:]
        if self.unanswered >= MAX_UNANSWERED:
            self._open(now, "No probe gave an answer.")
        else:
            self.revoke_lease()

    def _close(self, now: datetime, why: str) -> None:
        self._go(CircuitState.CLOSED, now, why)
        self.failure_count, self.rate_window, self.skipped = 0, [], []
        self.opened_at, self.next_probe_at, self.closed_at = None, None, now

    def _open(self, now: datetime, why: str) -> None:
        self._go(CircuitState.OPEN, now, why)
        self.opened_times += 1
        self.opened_at = now
        self.next_probe_at = now + timedelta(seconds=self.config.open_for(self.opened_times))

    def _go(self, state: CircuitState, now: datetime, why: str) -> None:
        self.state = state
        self.epoch += 1
        self.refusals = self.unanswered = self.empty_searches = 0
        self.issued_leases = []
        self.revoke_lease()
        self.transitions = [*self.transitions, Transition(at=now, state=state, why=why)][-MAX_TRANSITIONS:]
