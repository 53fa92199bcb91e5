"""The breaker's machine: examples, and properties over any sequence of reports and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from workers.contracts import CircuitState
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.machine import (
    LEASE_SECONDS,
    MAX_PROCESSES,
    MAX_TRANSITIONS,
    MAX_UNANSWERED,
    PICKUP_SECONDS,
    Machine,
)
from workers.patterns.breaker.names import dependency_of, guarded

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
    machine.grant_lease("lease", NOW + timedelta(seconds=60))
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


def test_a_lease_that_comes_to_nothing_goes_to_another_a_few_times() -> None:
    machine, now = probing(), NOW + timedelta(seconds=60)
    for number in range(MAX_UNANSWERED):
        assert machine.lease
        machine.assign_probe(machine.lease, f"order-{number}", now)
        machine.tick(now + timedelta(seconds=PICKUP_SECONDS - 1))
        assert machine.lease
        now += timedelta(seconds=PICKUP_SECONDS)
        machine.tick(now)
        if number + 1 < MAX_UNANSWERED:
            assert state_of(machine) is CircuitState.HALF_OPEN
            assert machine.status().probe_lease is None
            machine.grant_lease(f"lease-{number}", now)
    assert state_of(machine) is CircuitState.OPEN
    assert machine.skipped == ["order-0", "order-1", "order-2"]


def test_a_probe_that_began_has_its_time() -> None:
    machine, now = probing(), NOW + timedelta(seconds=65)
    machine.report(Report(process="q", seq=1, lease="lease", began=True), now)
    machine.tick(now + timedelta(seconds=LEASE_SECONDS - 1))
    assert machine.lease == "lease"
    machine.tick(now + timedelta(seconds=LEASE_SECONDS))
    assert machine.lease is None


def test_a_lease_that_is_given_back_is_free_at_once() -> None:
    machine = probing()
    machine.report(Report(process="q", seq=1, lease="lease"), NOW + timedelta(seconds=61))
    assert state_of(machine) is CircuitState.HALF_OPEN
    assert machine.status().probe_lease is None


def test_with_nobody_to_probe_it_looks_twice_more_and_then_waits_for_a_refusal() -> None:
    machine, now = probing(), NOW + timedelta(seconds=60)
    later = [machine.no_candidate(now) for _ in range(3)]
    assert later == [now + timedelta(seconds=15), now + timedelta(seconds=60), None]
    assert (machine.lease, machine.unanswered) == (None, 0)


def claimable() -> Machine:
    machine = probing()
    machine.no_candidate(NOW + timedelta(seconds=62))
    return machine


def test_with_no_held_workflow_the_first_call_that_claims_the_probe_gets_it() -> None:
    machine, now = claimable(), NOW + timedelta(seconds=63)
    assert machine.status().probe_claimable
    assert Machine.of(machine.status()).claimable
    machine.report(Report(process="a", seq=1, claim="a's", holder="order-a"), now)
    machine.report(Report(process="b", seq=1, claim="b's", holder="order-b"), now)
    assert (machine.lease, machine.status().probe_holder) == ("a's", "order-a")
    assert not machine.status().probe_claimable
    machine.report(Report(process="a", seq=2, lease="a's", healthy=True, calls=1), now)
    assert state_of(machine) is CircuitState.CLOSED


def test_after_a_lease_that_was_not_used_a_call_need_not_wait_for_the_next() -> None:
    """A held workflow without workers would keep all calls out, as it is offered each probe."""
    machine, now = probing(), NOW + timedelta(seconds=60 + PICKUP_SECONDS)
    machine.assign_probe("lease", "deaf", NOW)
    machine.tick(now)
    machine.grant_lease("deaf's again", now)
    assert machine.status().probe_claimable
    copied = Machine.of(machine.status())
    for each in (machine, copied):
        each.report(Report(process="a", seq=1, claim="a's", holder="order-a"), now)
        each.report(Report(process="b", seq=1, claim="b's", holder="order-b"), now)
        assert (each.lease, each.holder, each.claimable) == ("a's", "order-a", False)


def test_a_probe_that_has_begun_is_not_claimed() -> None:
    machine, now = probing(), NOW + timedelta(seconds=60 + PICKUP_SECONDS)
    machine.tick(now)
    machine.grant_lease("next", now)
    machine.report(Report(process="q", seq=1, lease="next", began=True), now)
    machine.report(Report(process="a", seq=1, claim="a's"), now)
    assert machine.lease == "next"


def test_a_failing_claimed_probe_costs_another_wait() -> None:
    machine, now = claimable(), NOW + timedelta(seconds=63)
    machine.report(Report(process="a", seq=1, claim="a's"), now)
    machine.report(Report(process="a", seq=2, lease="a's", healthy=False, calls=1, failures=1), now)
    assert state_of(machine) is CircuitState.OPEN
    machine.report(Report(process="b", seq=1, claim="b's"), now)
    assert machine.lease is None
    assert machine.next_probe_at == now + timedelta(seconds=60)


def test_a_claim_counts_only_when_a_held_workflow_was_looked_for() -> None:
    claim = Report(process="a", seq=1, claim="a's")
    half_open = opened()
    half_open.tick(NOW + timedelta(seconds=60))
    forced = claimable()
    forced.force(CircuitState.OPEN, "ann", "No.", NOW + timedelta(hours=1), NOW)
    for machine in (Machine(config=CONFIG), opened(), half_open, probing(), forced):
        lease = machine.lease
        machine.report(claim, NOW + timedelta(seconds=61))
        assert machine.lease == lease


def test_a_late_answer_of_a_lapsed_lease_counts_in_its_epoch_only() -> None:
    machine, now = probing(), NOW + timedelta(seconds=60 + PICKUP_SECONDS)
    machine.tick(now)
    machine.grant_lease("next", now)
    older = machine.model_copy(deep=True)
    answer = Report(process="q", seq=1, lease="lease", healthy=True)
    machine.report(answer, now)
    assert state_of(machine) is CircuitState.CLOSED
    older.report(Report(process="r", seq=1, lease="next", healthy=False), now)
    older.report(answer, now)
    assert state_of(older) is CircuitState.OPEN, "that lease was of an older epoch"


RATED = BreakerConfig(
    dependency="payments", threshold=1_000, failure_rate=0.5, minimum_calls=10, window_seconds=50
)


def mixed(seq: int, calls: int, failures: int, epoch: int = 0) -> Report:
    return Report(process="p", seq=seq, epoch=epoch, calls=calls, failures=failures)


def test_a_share_of_the_window_opens_it() -> None:
    machine = Machine(config=RATED)
    machine.report(mixed(1, 9, 9), NOW)
    assert state_of(machine) is CircuitState.CLOSED, "too few calls to say"
    machine.report(mixed(2, 11, 0), NOW)
    assert state_of(machine) is CircuitState.CLOSED
    machine.report(mixed(3, 4, 4), NOW)
    assert state_of(machine) is CircuitState.OPEN
    assert machine.transitions[-1].why == "13 of 24 calls failed."


def test_the_share_forgets_what_left_the_window_and_what_was_before_closing() -> None:
    machine = Machine(config=RATED)
    machine.report(mixed(1, 9, 9), NOW)
    machine.report(mixed(2, 9, 3), NOW + timedelta(seconds=51))
    assert state_of(machine) is CircuitState.CLOSED
    machine.report(mixed(3, 20, 20), NOW + timedelta(seconds=52))
    later = NOW + timedelta(seconds=52 + 300)
    machine.tick(later)
    machine.grant_lease("lease", later)
    machine.report(Report(process="q", seq=1, lease="lease", healthy=True, calls=1), later)
    machine.report(mixed(4, 30, 30, epoch=1), later)
    machine.report(mixed(5, 12, 2, epoch=machine.epoch), later)
    assert state_of(machine) is CircuitState.CLOSED


def test_openings_in_a_row_grow_and_staying_closed_ends_the_row() -> None:
    config = CONFIG.model_copy(update={"open_growth": 2, "open_seconds_max": 200, "window_seconds": 10})
    machine, now = Machine(config=config), NOW
    machine.report(failing(1, 3), now)
    waits = []
    for seq in range(2, 5):
        assert machine.next_probe_at
        now = machine.next_probe_at
        machine.tick(now)
        machine.grant_lease(f"lease-{seq}", now)
        machine.report(Report(process="p", seq=seq, lease=f"lease-{seq}", healthy=False), now)
        assert machine.next_probe_at
        waits.append((machine.next_probe_at - now).total_seconds())
    assert waits == [120, 200, 200]
    assert machine.status().opened_times == 4
    now += timedelta(seconds=200)
    machine.tick(now)
    machine.grant_lease("good", now)
    machine.report(Report(process="p", seq=9, lease="good", healthy=True), now)
    machine.report(failing(10, 3, epoch=machine.epoch), now + timedelta(seconds=10))
    assert machine.opened_times == 1
    assert machine.next_probe_at == now + timedelta(seconds=70)


def test_status_tells_how_many_processes_are_alive() -> None:
    machine = Machine(config=CONFIG)
    for process in "abc":
        machine.report(working(1, process=process), NOW)
    assert machine.status().processes == 3
    machine.report(working(2), NOW + timedelta(minutes=2))
    assert machine.status().processes == 1
    copied = Machine.of(machine.status())
    assert (copied.state, copied.epoch, copied.config.threshold) == (CircuitState.CLOSED, 1, 3)


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
    lambda process, seq, epoch, calls, failures, tail, refused, lease, healthy, claim: Report(
        process=process,
        seq=seq,
        epoch=epoch,
        calls=calls,
        failures=min(failures, calls),
        tail=min(tail, failures, calls),
        refused=refused,
        lease=lease,
        healthy=healthy,
        claim=claim,
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
    claim=st.sampled_from(["", "lease", "other"]),
)
moves = st.one_of(reports, st.sampled_from(["tick", "grant", "none held"]))


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
        elif machine.state is CircuitState.HALF_OPEN and move == "grant":
            machine.grant_lease("lease", now)
        elif machine.state is CircuitState.HALF_OPEN:
            machine.no_candidate(now)
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
        assert not machine.claimable
    assert len(machine.transitions) <= MAX_TRANSITIONS
    assert len(machine.seen) <= MAX_PROCESSES
    assert len(machine.window) <= 6


@given(st.lists(reports, max_size=40))
def test_calls_of_no_held_workflow_close_it(sent: list[Report]) -> None:
    """Whatever was reported, and with no workflow to be found, a call that works closes the breaker."""
    machine, now = Machine(config=CONFIG), NOW
    for report in sent:
        machine.report(report, now)
    for seq in range(1, 9):
        now += timedelta(minutes=2)
        machine.tick(now)
        if machine.state is CircuitState.HALF_OPEN:
            machine.grant_lease(f"offered-{seq}", now)
            machine.no_candidate(now)
            machine.report(Report(process="living", seq=2 * seq, claim=f"claimed-{seq}"), now)
            good = Report(process="living", seq=2 * seq + 1, lease=f"claimed-{seq}", healthy=True, calls=1)
            machine.report(good, now)
    assert machine.state is CircuitState.CLOSED


@given(st.lists(reports, max_size=40), st.integers(0, 2**32))
def test_a_dead_process_harms_nobody(sent: list[Report], seed: int) -> None:
    """Whatever a dead process left behind, the living close the breaker with a probe."""
    machine = Machine(config=CONFIG)
    for report in sent:
        machine.report(report, NOW)
    later = NOW + timedelta(hours=1)
    machine.tick(later)
    if machine.state is CircuitState.HALF_OPEN:
        machine.grant_lease("fresh", later)
        machine.report(Report(process="living", seq=1, lease="fresh", healthy=True, calls=1), later)
    assert machine.state is CircuitState.CLOSED
