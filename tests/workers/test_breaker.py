"""The breaker's machine: examples, and properties over any sequence of reports and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from workers.contracts import CircuitState
from workers.patterns.breaker import (
    LEASE_SECONDS,
    MOST_PROCESSES,
    MOST_TRANSITIONS,
    BreakerConfig,
    Machine,
    Report,
    dependency_of,
    guarded,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIG = BreakerConfig(dependency="payments", threshold=3, open_seconds=60)


def state_of(machine: Machine) -> CircuitState:
    return machine.state


def failing(seq: int, times: int = 1, *, process: str = "p", epoch: int = 0) -> Report:
    return Report(
        process=process, seq=seq, epoch=epoch, calls=times, failures=times, tail=times, last_error="away"
    )


def working(seq: int, *, process: str = "p", tail: int = 0) -> Report:
    return Report(process=process, seq=seq, calls=1 + tail, failures=tail, tail=tail)


def opened() -> Machine:
    machine = Machine(config=CONFIG)
    machine.report(failing(1, 3), NOW)
    return machine


def probing() -> Machine:
    machine = opened()
    machine.tick(NOW + timedelta(seconds=60))
    machine.lend("lease", NOW + timedelta(seconds=60))
    return machine


def test_failures_in_a_row_of_all_processes_open_it() -> None:
    machine = Machine(config=CONFIG)
    machine.report(failing(1, process="a"), NOW)
    machine.report(failing(1, process="b"), NOW)
    assert state_of(machine) is CircuitState.CLOSED
    machine.report(failing(2, process="a"), NOW)
    assert state_of(machine) is CircuitState.OPEN
    assert machine.next_probe_at == NOW + timedelta(seconds=60)
    assert machine.status().last_error == "away"


def test_a_success_ends_the_row() -> None:
    machine = Machine(config=CONFIG)
    machine.report(failing(1, 2), NOW)
    machine.report(working(2, tail=1), NOW)
    assert (machine.state, machine.failure_count) == (CircuitState.CLOSED, 1)


def test_doubled_and_overtaken_reports_change_nothing() -> None:
    machine = Machine(config=CONFIG)
    for seq in (2, 2, 1):
        machine.report(failing(seq), NOW)
    assert machine.failure_count == 1


def test_reports_of_an_older_epoch_are_statistics_only() -> None:
    machine = probing()
    machine.report(Report(process="q", seq=1, lease="lease", healthy=True, calls=1), NOW)
    machine.report(failing(2, 9, epoch=1), NOW)
    assert (machine.state, machine.failure_count) == (CircuitState.CLOSED, 0)
    assert machine.status().failures == 12


def test_it_waits_its_time_and_then_asks_for_a_probe() -> None:
    machine = opened()
    machine.tick(NOW + timedelta(seconds=59))
    assert state_of(machine) is CircuitState.OPEN
    machine.tick(NOW + timedelta(seconds=60))
    assert state_of(machine) is CircuitState.HALF_OPEN


def test_only_the_holder_of_the_lease_decides() -> None:
    machine = probing()
    machine.report(Report(process="q", seq=1, lease="older", healthy=True), NOW)
    machine.report(working(2, process="q"), NOW)
    machine.report(failing(3, 9, process="q"), NOW)
    assert state_of(machine) is CircuitState.HALF_OPEN
    machine.report(Report(process="q", seq=4, lease="lease", healthy=True), NOW)
    assert state_of(machine) is CircuitState.CLOSED
    assert machine.status().opened_at is None


def test_a_failing_probe_opens_it_again() -> None:
    machine = probing()
    machine.report(Report(process="q", seq=1, lease="lease", healthy=False), NOW)
    assert state_of(machine) is CircuitState.OPEN


def test_a_silent_probe_opens_it_again() -> None:
    machine = probing()
    lent = NOW + timedelta(seconds=60)
    machine.tick(lent + timedelta(seconds=LEASE_SECONDS - 1))
    assert state_of(machine) is CircuitState.HALF_OPEN
    machine.tick(lent + timedelta(seconds=LEASE_SECONDS))
    assert state_of(machine) is CircuitState.OPEN


def test_new_settings_count_at_once() -> None:
    machine = opened()
    machine.configure(CONFIG.model_copy(update={"open_seconds": 10}), NOW)
    assert machine.next_probe_at == NOW + timedelta(seconds=10)
    closed = Machine(config=CONFIG)
    closed.report(failing(1, 2), NOW)
    closed.configure(CONFIG.model_copy(update={"threshold": 2}), NOW)
    assert state_of(closed) is CircuitState.OPEN


def test_the_window_forgets() -> None:
    machine = opened()
    machine.report(working(2), NOW + timedelta(minutes=10))
    assert (machine.status().calls, machine.status().failures) == (1, 0)


def test_guarded_marks_the_function() -> None:
    @guarded("payments")
    def charge() -> None: ...

    assert dependency_of(charge) == "payments"
    assert dependency_of(test_guarded_marks_the_function) == ""


reports = st.builds(
    lambda process, seq, epoch, calls, failures, tail, refused, lease, healthy: Report(
        process=process,
        seq=seq,
        epoch=epoch,
        calls=calls,
        failures=min(failures, calls),
        tail=min(tail, failures, calls),
        refused=refused,
        lease=lease,
        healthy=healthy,
    ),
    process=st.sampled_from(["a", "b", "c"]),
    seq=st.integers(0, 30),
    epoch=st.integers(0, 6),
    calls=st.integers(0, 6),
    failures=st.integers(0, 6),
    tail=st.integers(0, 6),
    refused=st.integers(0, 2),
    lease=st.sampled_from(["", "lease", "other"]),
    healthy=st.booleans(),
)
moves = st.one_of(reports, st.sampled_from(["tick", "lend"]))


@given(st.lists(st.tuples(moves, st.integers(0, 50)), max_size=60))
def test_any_history_keeps_the_machine_consistent(history: list[tuple[Report | str, int]]) -> None:
    machine, now = Machine(config=CONFIG), NOW
    for move, seconds in history:
        now += timedelta(seconds=seconds)
        epoch, state = machine.epoch, machine.state
        if isinstance(move, Report):
            machine.report(move, now)
            before = machine.model_copy(deep=True)
            machine.report(move, now)
            assert machine == before, "a doubled report changed something"
        elif move == "tick":
            machine.tick(now)
        elif machine.state is CircuitState.HALF_OPEN:
            machine.lend("lease", now)
        assert (machine.epoch > epoch) == (machine.state is not state) or machine.epoch - epoch > 1
        _consistent(machine)
    assert Machine.model_validate_json(machine.model_dump_json()) == machine


def _consistent(machine: Machine) -> None:
    if machine.state is CircuitState.CLOSED:
        assert machine.failure_count < machine.config.threshold
    if machine.state is CircuitState.OPEN:
        assert machine.next_probe_at is not None
        assert machine.opened_at is not None
    if machine.state is not CircuitState.HALF_OPEN:
        assert machine.lease is None
    assert len(machine.transitions) <= MOST_TRANSITIONS
    assert len(machine.seen) <= MOST_PROCESSES
    assert len(machine.window) <= 6


@given(st.lists(reports, max_size=40), st.integers(0, 2**32))
def test_a_dead_process_harms_nobody(sent: list[Report], seed: int) -> None:
    """Whatever a dead process left behind, the living close the breaker with a probe."""
    machine = Machine(config=CONFIG)
    for report in sent:
        machine.report(report, NOW)
    later = NOW + timedelta(hours=1)
    machine.tick(later)
    if machine.state is CircuitState.HALF_OPEN:
        machine.lend("fresh", later)
        machine.report(Report(process="living", seq=1, lease="fresh", healthy=True, calls=1), later)
    assert machine.state is CircuitState.CLOSED
