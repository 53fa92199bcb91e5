"""The gate of one process, with a breaker at its edge that answers slowly, late, or not at all."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client, WorkflowQueryRejectedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from tests.support import eventually
from workers.contracts import CIRCUIT_OPEN, CircuitState, CircuitStatus, Forced
from workers.patterns.breaker import gate as gates
from workers.patterns.breaker import reporter as reporting
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.gate import Gate
from workers.patterns.breaker.machine import Machine

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Breaker:
    """Stands for the client, the handle, and the breaker workflow behind it."""

    def __init__(self, state: CircuitState = CircuitState.CLOSED, **more: Any) -> None:
        self.status = CircuitStatus(
            state=state, dependency="payments", threshold=3, open_seconds=60, epoch=4, **more
        )
        self.questions = 0
        self.reports: list[Report] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.away = self.gone = False

    def become(self, state: CircuitState, **more: Any) -> None:
        kept = {"probe_lease": None, **more}
        self.status = self.status.model_copy(update={"state": state, **kept})

    def get_workflow_handle(self, workflow_id: str) -> Breaker:
        assert workflow_id == "breaker-payments"
        return self

    async def query(self, name: str, **_: Any) -> CircuitStatus:
        self.questions += 1
        await self.answers.wait()
        if self.gone:
            raise WorkflowQueryRejectedError(None)
        if self.away:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        return self.status

    async def signal(self, name: str, report: Report, **_: Any) -> None:
        self.reports.append(report)
        if report.claim and self.status.probe_claimable:  # as the machine does
            self.status.probe_lease, self.status.probe_claimable = report.claim, False

    def gate(self, config: BreakerConfig | None = None) -> Gate:
        return Gate(cast(Client, self), "payments", config)


async def refused(gate: Gate, lease: str = "", never_sent: bool = True) -> bool:
    try:
        await gate.admit(lease, never_sent)
    except ApplicationError as error:
        return (error.type, error.non_retryable, *error.details) == (
            CIRCUIT_OPEN,
            True,
            "payments",
            never_sent,
        )
    return False


async def test_asks_once_a_second_however_many_call() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    assert await asyncio.gather(*(gate.admit("", True) for _ in range(50))) == [(4, "")] * 50
    assert breaker.questions == 1


async def test_a_slow_breaker_delays_a_call_half_a_second_at_most_and_admits() -> None:
    breaker = Breaker()
    breaker.answers.clear()
    gate = breaker.gate()
    began = time.monotonic()
    assert await gate.admit("", True) == (0, "")
    assert 0.4 < time.monotonic() - began < 2
    breaker.answers.set()


async def test_a_breaker_that_is_away_keeps_its_last_state_and_delays_nobody() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.away = True
    await gate._confirm()
    assert gate.stale
    breaker.answers.clear()
    began = time.monotonic()
    assert await refused(gate)
    assert time.monotonic() - began < 0.3
    breaker.answers.set()


async def test_refuses_after_its_own_failures_without_waiting_for_the_breaker() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    for _ in range(3):
        epoch, _lease = await gate.admit("", True)
        gate.record(epoch, failed=True, error="away")
    assert await refused(gate, never_sent=False)
    await eventually(lambda: breaker.reports)
    assert [(report.calls, report.tail, report.epoch) for report in breaker.reports] == [(3, 3, 4)]
    await gate._confirm()
    assert await refused(gate), "the answer is of before our report"


async def test_a_success_between_failures_opens_nothing() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    for failed in (True, True, False, True, True):
        epoch, _lease = await gate.admit("", True)
        gate.record(epoch, failed=failed)
    assert not await refused(gate)
    await eventually(lambda: breaker.reports)
    report = breaker.reports[0]
    assert (report.calls, report.failures, report.tail) == (5, 4, 2)


async def test_half_open_admits_the_lease_once_and_reports_at_once() -> None:
    breaker = Breaker(CircuitState.HALF_OPEN, probe_lease="lease")
    gate = breaker.gate()
    assert await refused(gate)
    assert await refused(gate, "another")
    epoch, lease = await gate.admit("lease", True)
    assert lease == "lease"
    assert await refused(gate, "lease", never_sent=False)
    gate.record(epoch, lease="lease")
    probes = await eventually(lambda: [report for report in breaker.reports if report.lease])
    assert [(probe.lease, probe.healthy) for probe in probes] == [("lease", True)]
    assert not await refused(gate), "our own copy closed with our own probe"


async def test_a_lease_that_was_lent_after_the_last_question_is_asked_for() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.status = CircuitStatus(
        state=CircuitState.HALF_OPEN,
        dependency="payments",
        threshold=3,
        open_seconds=60,
        epoch=5,
        probe_lease="new",
    )
    assert await gate.admit("new", True) == (5, "new")


async def test_a_lease_is_worth_a_long_wait() -> None:
    """A probe turned away on a slow machine would hold everybody until its lease runs out."""
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.answers.clear()
    call = asyncio.create_task(gate.admit("lease-1", True))
    await eventually(lambda: breaker.questions == 2)
    breaker.status = breaker.status.model_copy(
        update={"state": CircuitState.HALF_OPEN, "epoch": 5, "probe_lease": "lease-1"}
    )
    await asyncio.sleep(0.6)  # longer than a call without a lease waits
    breaker.answers.set()
    assert await call == (5, "lease-1")


async def test_a_question_from_before_the_lease_does_not_answer_for_it() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    breaker.answers.clear()
    bare = asyncio.create_task(refused(gate))
    await eventually(lambda: breaker.questions == 1)
    probe = asyncio.create_task(gate.admit("lease-1", True))
    await asyncio.sleep(0)
    breaker.answers.set()
    await bare
    breaker.status = breaker.status.model_copy(
        update={"state": CircuitState.HALF_OPEN, "epoch": 5, "probe_lease": "lease-1"}
    )
    assert await probe == (5, "lease-1")
    assert breaker.questions == 2


async def test_a_lease_that_nobody_can_confirm_is_honoured_once() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.away = True
    assert await gate.admit("lease-1", True) == (4, "lease-1")
    assert await refused(gate, "lease-1", 2)


async def test_of_many_calls_in_many_processes_one_claims_the_probe() -> None:
    breaker = Breaker(CircuitState.HALF_OPEN, probe_claimable=True)
    gates_ = [breaker.gate() for _ in range(4)]
    calls = [gate.admit("", True, caller=f"run-{n}", held=n % 2 == 0) for n, gate in enumerate(gates_ * 5)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    admitted = [end[1] for end in ends if isinstance(end, tuple)]
    assert admitted == [breaker.status.probe_lease]
    claims = [report for report in breaker.reports if report.claim]
    assert 1 <= len(claims) <= 4, "each process claims once"
    assert claims[0].holder.startswith("run-")


async def test_a_claim_that_nobody_confirms_admits_nothing() -> None:
    breaker = Breaker(CircuitState.HALF_OPEN, probe_claimable=True)
    gate = breaker.gate()
    await gate._confirm()
    breaker.away = True
    assert await refused(gate)


@pytest.mark.parametrize(
    ("state", "more", "least", "most"),
    [
        (CircuitState.OPEN, {"next_probe_at": timedelta(seconds=20)}, 18, 25),
        (CircuitState.OPEN, {"next_probe_at": timedelta(hours=1)}, 60, 75),
        (CircuitState.OPEN, {"next_probe_at": timedelta(seconds=-5)}, 1, 1.25),
        (CircuitState.HALF_OPEN, {"probe_lease": "another's"}, 5, 6.25),
    ],
)
async def test_a_refused_call_that_no_resume_reaches_is_retried_when_it_makes_sense(
    state: CircuitState, more: dict[str, Any], least: float, most: float
) -> None:
    now = datetime.now(UTC)
    given = {name: now + value if isinstance(value, timedelta) else value for name, value in more.items()}
    gate = Breaker(state, **given).gate()
    with pytest.raises(ApplicationError) as caught:
        await gate.admit("", False, held=False)
    error = caught.value
    assert (error.type, error.non_retryable, *error.details) == (CIRCUIT_OPEN, False, "payments", False)
    assert error.next_retry_delay is not None
    assert least <= error.next_retry_delay.total_seconds() <= most
    assert gate._polling is None, "no workflow waits for the breaker"


def told(breaker: Breaker) -> list[int]:
    return [report.refused for report in breaker.reports if report.refused]


@pytest.mark.parametrize("state", [CircuitState.CLOSED, CircuitState.HALF_OPEN])
async def test_who_was_refused_by_an_older_state_is_told_to_a_breaker_that_can_wake_them(
    state: CircuitState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "POLL_INTERVAL", 0.01)
    breaker = Breaker(CircuitState.HALF_OPEN, probe_lease="another's")
    gate = breaker.gate()
    assert await refused(gate)
    assert await refused(gate)
    await eventually(lambda: breaker.questions > 3)
    assert told(breaker) == [], "while another probes, it wakes nobody"
    breaker.become(state, epoch=6)
    await eventually(lambda: told(breaker))
    assert sum(told(breaker)) == 2


async def test_an_open_breaker_is_not_bothered_before_its_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=600)
    breaker = Breaker(CircuitState.OPEN, next_probe_at=soon)
    gate = breaker.gate()
    assert await refused(gate)
    assert gate._poll_interval() == gates.MAX_POLL_INTERVAL
    breaker.become(CircuitState.OPEN, next_probe_at=datetime.now(UTC) - timedelta(seconds=5))
    await gate._confirm()
    assert gate._poll_interval() == gates.POLL_INTERVAL
    assert told(breaker) == []


async def test_what_our_own_failures_closed_is_asked_again_soon() -> None:
    """Successes elsewhere may have kept the breaker closed; whom we refused meanwhile must not be left."""
    breaker = Breaker()
    gate = breaker.gate()
    for _ in range(3):
        epoch, _lease = await gate.admit("", True)
        gate.record(epoch, failed=True)
    assert await refused(gate)
    assert gate._poll_interval() == gates.LOCAL_STATE_TTL
    gate._moved_at -= gates.LOCAL_STATE_TTL
    await gate._confirm()
    assert not await refused(gate)


@pytest.mark.parametrize("registered", [True, False])
async def test_a_breaker_that_has_ended_guards_nothing_and_says_so_once(
    registered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate(BreakerConfig(dependency="payments") if registered else None)
    assert await refused(gate)
    breaker.gone = True
    await gate._confirm()
    await gate._confirm()
    assert await gate.admit("", True) == (0, "")
    lines = [record.getMessage() for record in caplog.records]
    then = "it is started again" if registered else "it is not registered, so it is not started"
    assert lines == [f"No breaker of payments runs: calls are admitted; {then}."]
    if registered:
        await eventually(lambda: breaker.reports)  # the signal that starts it
    else:
        assert breaker.reports == []


async def test_a_lease_is_honoured_though_our_own_copy_is_ahead() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    for _ in range(3):
        epoch, _lease = await gate.admit("", True)
        gate.record(epoch, failed=True)
    assert gate._machine
    gate._machine.epoch = 9
    breaker.become(CircuitState.HALF_OPEN, epoch=6, probe_lease="lease")
    assert await gate.admit("lease", True) == (9, "lease")


async def test_forced_states_are_not_the_gates_to_judge() -> None:
    forced = Forced(state="CLOSED", by="ann", reason="They said so.")
    breaker = Breaker(CircuitState.CLOSED, forced=forced)
    gate = breaker.gate()
    for _ in range(9):
        epoch, _lease = await gate.admit("", True)
        gate.record(epoch, failed=True)
    assert not await refused(gate)
    breaker.become(CircuitState.OPEN, forced=forced)
    breaker.away = True
    await gate._confirm()
    gate._machine = Machine.of(breaker.status)
    assert await refused(gate, "lease"), "nobody probes against a person's word"


async def test_a_probe_without_an_answer_gives_its_lease_back() -> None:
    breaker = Breaker(CircuitState.HALF_OPEN, probe_lease="lease")
    gate = breaker.gate()
    await gate.admit("lease", True)
    gate.give_back("lease")
    await eventually(lambda: breaker.reports)
    assert [(r.lease, r.healthy, r.began, r.calls) for r in breaker.reports] == [("lease", None, False, 0)]


async def test_a_long_probe_says_that_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "BEGAN_SECONDS", 0.01)
    breaker = Breaker(CircuitState.HALF_OPEN, probe_lease="lease")
    gate = breaker.gate()
    epoch, _lease = await gate.admit("lease", True)
    await eventually(lambda: breaker.reports)
    gate.record(epoch, lease="lease", failed=True, error="away")
    await eventually(lambda: len(breaker.reports) == 2)
    assert [(r.began, r.healthy, r.calls) for r in breaker.reports] == [(True, None, 0), (False, False, 1)]


class Clock:
    """The loop's clock and timers, moved by hand; what a reporter sends is collected."""

    def __init__(self, processes: int = 10) -> None:
        self.now = 1_000.0
        self.timers: list[tuple[float, Any]] = []
        self.sent: list[tuple[float, Report]] = []
        self.machine = Machine.of(
            CircuitStatus(dependency="payments", threshold=5, epoch=4, processes=processes)
        )
        self.reporter = reporting.Reporter(
            cast(Client, self), "payments", lambda report: self.sent.append((self.now, report))
        )
        self.reporter.processes = processes

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, fn: Any) -> Any:
        entry = (at, fn)
        self.timers.append(entry)

        def cancel() -> None:
            self.timers = [timer for timer in self.timers if timer is not entry]

        return SimpleNamespace(cancel=cancel)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((t for t in self.timers if t[0] <= end), key=lambda t: t[0]):
            self.timers.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = end

    def call(self, failed: bool) -> None:
        if failed:
            self.reporter.record_failure(4, "away", self.machine)
        else:
            self.reporter.record_success(4, ends_row=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(
        reporting, "asyncio", SimpleNamespace(get_running_loop=lambda: made, Task=asyncio.Task)
    )
    monkeypatch.setattr(reporting.Reporter, "_dispatch", lambda self, report: None)
    return made


def test_successes_alone_are_told_seldom(clock: Clock) -> None:
    for _ in range(12_000):
        clock.call(failed=False)
        clock.advance(0.01)
    assert 3 <= len(clock.sent) <= 6, "two minutes at a hundred a second"
    assert sum(report.calls for _, report in clock.sent) > 9_000


def test_failures_among_successes_wait_for_their_turn(clock: Clock) -> None:
    for number in range(12_000):
        clock.call(failed=number % 20 == 7)
        clock.advance(0.01)
    assert 7 <= len(clock.sent) <= 13, "one of ten processes, each twelve seconds"


def test_failures_alone_are_told_soon(clock: Clock) -> None:
    """Few calls a process, all failing: others may see the same, and together they are many."""
    clock.call(failed=False)
    clock.advance(1.5)
    before = len(clock.sent)
    clock.call(failed=True)
    clock.advance(3)
    assert len(clock.sent) == before + 1


def test_failures_spread_over_processes_open_it_within_seconds(clock: Clock) -> None:
    """Ten processes that have just reported, and see a failure a second each: none of them sees a row."""
    shared = Machine(config=BreakerConfig(dependency="payments", threshold=8))
    others = [
        reporting.Reporter(cast(Client, clock), "payments", lambda report: shared.report(report, NOW))
        for _ in range(10)
    ]
    for each in others:
        each.processes = 10
        each.record_success(1, ends_row=False)
    clock.advance(0.1)
    began, copy = clock.now, shared.model_copy(deep=True)
    while shared.state is CircuitState.CLOSED and clock.now < began + 60:
        for each in others:
            each.record_failure(1, "away", copy)
        clock.advance(1)
    assert shared.state is CircuitState.OPEN
    assert clock.now - began <= 4


def test_a_row_that_opens_it_is_told_at_once(clock: Clock) -> None:
    clock.call(failed=False)
    clock.advance(1)
    for _ in range(5):
        clock.call(failed=True)
    assert clock.sent[-1][0] == clock.now
    assert clock.sent[-1][1].tail == 5


def test_failures_of_an_older_epoch_are_in_no_hurry(clock: Clock) -> None:
    clock.machine.epoch = 6
    clock.call(failed=False)
    clock.advance(1)
    sent = len(clock.sent)
    for _ in range(50):
        clock.call(failed=True)
    assert len(clock.sent) == sent
