"""What people do with a breaker's machine, and a state machine over everything that can happen to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.contracts import CircuitState, Decision, Outcome
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.handlers import force, refuses_probe, release
from workers.patterns.breaker.machine import MAX_UNANSWERED, Machine
from workers.patterns.breaker.release import LARGEST_BATCH, LATER_SECONDS, Release

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIG = BreakerConfig(
    dependency="payments", threshold=3, open_seconds=60, open_growth=2, failure_rate=0.5, minimum_calls=6
)
HOUR = timedelta(hours=1)


def state_of(machine: Machine) -> CircuitState:
    return machine.state


def act(**more: object) -> Decision:
    return Decision.model_validate({"decision_id": "d", "actor": "ann", "reason": "They said so.", **more})


def failing(seq: int, times: int, epoch: int = 0) -> Report:
    return Report(process="p", seq=seq, epoch=epoch, calls=times, failures=times, tail=times)


@pytest.mark.parametrize("lacking", [{"actor": ""}, {"reason": " "}])
def test_every_act_needs_somebody_and_a_reason(lacking: dict[str, str]) -> None:
    machine = Machine(config=CONFIG)
    before = machine.model_copy(deep=True)
    decision = act(**lacking)
    outcomes = [force(machine, decision, CircuitState.OPEN, NOW), release(machine, decision, NOW)]
    word = next(iter(lacking))
    assert {outcome for outcome, _, _ in outcomes} == {Outcome.REFUSED}
    assert all(word in detail for _, detail, _ in outcomes)
    assert word in refuses_probe(machine, decision)
    assert machine == before


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (None, NOW + HOUR),
        (NOW + 2 * HOUR, NOW + 2 * HOUR),
        (NOW + 99 * HOUR, NOW + 24 * HOUR),
        ((NOW + HOUR).replace(tzinfo=None), NOW + HOUR),
    ],
)
def test_how_long_it_is_forced(until: datetime | None, expected: datetime) -> None:
    machine = Machine(config=CONFIG)
    outcome, detail, _by = force(machine, act(until=until), CircuitState.OPEN, NOW)
    assert (outcome, machine.forced and machine.forced.until) == (Outcome.APPLIED, expected)
    assert f"{expected:%H:%M:%S}" in detail


def test_a_time_that_has_passed_forces_nothing() -> None:
    machine = Machine(config=CONFIG)
    outcome, detail, _by = force(machine, act(until=NOW), CircuitState.OPEN, NOW)
    assert (outcome, machine.forced) == (Outcome.REFUSED, None)
    assert "ended" in detail


def test_forced_closed_admits_whatever_fails_and_counts_anew_when_it_ends() -> None:
    machine = Machine(config=CONFIG)
    force(machine, act(), CircuitState.CLOSED, NOW)
    machine.report(failing(1, 50), NOW)
    machine.configure(CONFIG.model_copy(update={"threshold": 1}), NOW)
    machine.tick(NOW + HOUR - timedelta(seconds=1))
    assert (state_of(machine), machine.status().failures) == (CircuitState.CLOSED, 50)
    forced_epoch = machine.epoch
    machine.tick(NOW + HOUR)
    assert (state_of(machine), machine.forced, machine.failure_count) == (CircuitState.CLOSED, None, 0)
    machine.report(failing(2, 50, epoch=forced_epoch), NOW + HOUR)
    assert state_of(machine) is CircuitState.CLOSED, "those calls were admitted by force"


def test_forced_open_knows_no_probe_and_ends_in_one() -> None:
    machine = Machine(config=CONFIG)
    force(machine, act(), CircuitState.OPEN, NOW)
    assert machine.status().next_probe_at is None
    assert "ann" in refuses_probe(machine, act())
    machine.report(Report(process="q", seq=1, lease="x", healthy=True), NOW)
    machine.tick(NOW + HOUR / 2)
    assert state_of(machine) is CircuitState.OPEN
    machine.tick(NOW + HOUR)
    assert (state_of(machine), machine.forced) == (CircuitState.HALF_OPEN, None)


def test_the_later_word_replaces_the_earlier() -> None:
    machine = Machine(config=CONFIG)
    force(machine, act(), CircuitState.OPEN, NOW)
    force(machine, act(actor="bob"), CircuitState.CLOSED, NOW)
    assert machine.forced
    assert (state_of(machine), machine.forced.by) == (CircuitState.CLOSED, "bob")
    assert machine.transitions[-1].why == "Forced closed by bob: They said so."


def test_release_ends_what_is_forced_and_else_agrees_only_when_closed() -> None:
    machine = Machine(config=CONFIG)
    assert release(machine, act(), NOW)[0] is Outcome.APPLIED
    machine.report(failing(1, 3), NOW)
    outcome, detail, _by = release(machine, act(), NOW)
    assert (outcome, "OPEN" in detail) == (Outcome.REFUSED, True)
    force(machine, act(), CircuitState.OPEN, NOW)
    assert release(machine, act(), NOW)[0] is Outcome.APPLIED
    assert state_of(machine) is CircuitState.HALF_OPEN
    force(machine, act(), CircuitState.CLOSED, NOW)
    release(machine, act(), NOW)
    assert (state_of(machine), machine.forced) == (CircuitState.CLOSED, None)


def test_no_second_probe_while_one_is_under_way() -> None:
    machine = Machine(config=CONFIG)
    assert "CLOSED" in refuses_probe(machine, act())
    machine.report(failing(1, 3), NOW)
    assert refuses_probe(machine, act()) == ""
    machine.half_open(NOW, "asked")
    machine.grant_lease("lease", NOW)
    assert refuses_probe(machine, act()) == ""
    machine.assign_probe("lease", "order-1", NOW)
    assert "order-1" in refuses_probe(machine, act())


def test_batches_grow_while_they_are_full_and_several_short_ones_end_it() -> None:
    going = Release()
    going.begin()
    sizes, held = [], 200
    while going.batch:
        sizes.append(going.batch)
        woken = min(going.batch, held)
        held -= woken
        going.passed(woken, 0)
    assert sizes[:5] == [1, 5, 25, 125, 625]
    assert len(sizes) == 4 + len(LATER_SECONDS) + 1
    assert (held, going.short) == (0, 0)


def test_one_that_is_always_refused_is_not_woken_for_ever() -> None:
    going = Release()
    going.begin()
    wakes = 0
    while going.batch:
        wakes += 1
        going.passed(1, 2)
    assert wakes <= len(LATER_SECONDS) + 3


def test_failures_make_it_begin_with_one_and_refusals_keep_it_looking() -> None:
    going = Release(batch=125)
    assert going.passed(125, 2) > 0
    assert going.batch == 1
    going.passed(1, 2)
    assert going.batch == 5, "no failure since"
    going.short = len(LATER_SECONDS)
    going.again()
    assert going.passed(0, 2) > 0
    going.look_once()
    assert going.batch == LARGEST_BATCH
    assert going.passed(0, 2) == 0


class Anything(RuleBasedStateMachine):
    """Reports in any order from any epoch, leases, people, settings and time."""

    def __init__(self) -> None:
        super().__init__()
        self.machine, self.now, self.leases = Machine(config=CONFIG), NOW, ["", "never"]
        self.epoch, self.forced_until = self.machine.epoch, NOW

    @rule(seconds=st.integers(0, 4_000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.machine.tick(self.now)
        forced = self.machine.forced
        assert forced is None or (forced.until and forced.until > self.now), "it ran out"

    @rule(
        process=st.sampled_from("abc"),
        seq=st.integers(0, 60),
        epoch=st.integers(0, 12),
        calls=st.integers(0, 12),
        failures=st.integers(0, 14),
        tail=st.integers(0, 14),
        which=st.integers(0, 5),
        healthy=st.sampled_from([True, False, None]),
        began=st.booleans(),
    )
    def reported(self, which: int, **given: object) -> None:
        lease = self.leases[-1 - which % len(self.leases)]
        report = Report.model_validate({**given, "lease": lease})
        forced, epoch = self.machine.forced, self.machine.epoch
        known = lease in (*self.machine.issued_leases, self.machine.lease)
        self.machine.report(report, self.now)
        if forced:
            assert (self.machine.forced, self.machine.epoch) == (forced, epoch), "a person's word stands"
        if lease and not known:
            assert self.machine.epoch == epoch, "a lease of another epoch decides nothing"
        once = self.machine.model_copy(deep=True)
        self.machine.report(report, self.now)
        assert self.machine == once, "a doubled report changed something"

    @precondition(lambda self: self.machine.state is CircuitState.HALF_OPEN and not self.machine.lease)
    @rule()
    def lent(self) -> None:
        self.leases.append(f"lease-{len(self.leases)}")
        self.machine.grant_lease(self.leases[-1], self.now)
        self.machine.assign_probe(self.leases[-1], "order-1", self.now)

    @rule(state=st.sampled_from([CircuitState.OPEN, CircuitState.CLOSED]), hours=st.integers(-1, 30))
    def forced(self, state: CircuitState, hours: int) -> None:
        outcome, _, _ = force(self.machine, act(until=self.now + hours * HOUR), state, self.now)
        assert (outcome is Outcome.APPLIED) == (hours > 0)
        if hours > 0:
            assert self.machine.state is state

    @rule()
    def released(self) -> None:
        release(self.machine, act(), self.now)
        assert self.machine.forced is None

    @rule(threshold=st.integers(1, 5))
    def configured(self, threshold: int) -> None:
        self.machine.configure(CONFIG.model_copy(update={"threshold": threshold}), self.now)

    @rule()
    def continued_as_new(self) -> None:
        again = Machine.model_validate_json(self.machine.model_dump_json())
        assert again == self.machine
        self.machine = again

    @invariant()
    def is_consistent(self) -> None:
        machine = self.machine
        assert machine.epoch >= self.epoch
        assert machine.epoch == self.epoch or machine.transitions[-1].state == machine.state
        self.epoch = machine.epoch
        assert machine.lease is None or machine.state is CircuitState.HALF_OPEN
        assert machine.lease is None or machine.issued_leases[-1] == machine.lease, "one lease at a time"
        assert machine.unanswered < MAX_UNANSWERED
        if machine.state is CircuitState.CLOSED:
            assert machine.failure_count < machine.config.threshold
        if machine.forced:
            assert machine.forced.state == machine.state
        elif machine.state is CircuitState.OPEN:
            assert machine.next_probe_at
            assert machine.opened_at
        machine.status()


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
