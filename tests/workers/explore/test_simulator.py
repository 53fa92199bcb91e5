"""The simulator itself: small workflows with planted mistakes, each found, shrunk, told and repeated by its
line."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

from tests.workers.explore import catalogue
from tests.workers.explore.__main__ import main
from workers.testing.choices import parsed, written
from workers.testing.explore import Scenario, Violation, totals, variant
from workers.testing.invariants import always_waits_for_something, no_forgotten_effect, nothing_twice
from workers.testing.messages import Say
from workers.testing.view import View
from workers.testing.world import QUIET_FAULTS, Activity, Call, World

LIMIT = timedelta(seconds=10)
ONCE = RetryPolicy(maximum_attempts=1)


def _charge(world: World, call: Call) -> str:
    world.ledger.do(call.input, "charge")
    return "charged"


def _refund(world: World, call: Call) -> None:
    world.ledger.undo(call.input, f"{call.input}/undo")


class Till(World):
    """`charge` takes its key as argument; `refund` that of the charge."""

    activities: ClassVar = {
        "charge": Activity(_charge),
        "refund": Activity(_refund, role="undo", faults=QUIET_FAULTS),
        "look": Activity(lambda world, call: None, role="other", faults=frozenset()),
    }


def scenario(cls: type, *invariants: Any, **more: Any) -> Scenario:
    given = {
        "world": Till,
        "native_cancel": False,
        "interceptors": (),
        "search_attributes": None,
        "name": cls.__name__,
        **more,
    }
    return Scenario(cls, "key", invariants=invariants, **given)


def found(planted: Scenario, **how: Any) -> Violation:
    """The violation; its line repeats it, and without its last batch there is none."""
    with pytest.raises(Violation) as caught:
        planted.explore(**{"traces": 500, "seed": 1, **how})
    violation = caught.value
    with pytest.raises(Violation) as again:
        planted.explore(replay=violation.replay)
    assert again.value.name == violation.name
    assert violation.replay in str(violation)
    return violation


def batches(violation: Violation) -> int:
    return len([batch for batch in violation.trace if batch])


@workflow.defn(name="LosesACancel")
class LosesACancel:
    """Its cancel is only a wake-up: a completion in the same task hides it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self.cancelled = False

    @workflow.run
    async def run(self, key: str) -> str:
        self._task = asyncio.create_task(self._charge(key))
        try:
            await self._task
        except asyncio.CancelledError:
            await workflow.execute_activity("refund", key, start_to_close_timeout=LIMIT)
            return "refunded"
        return "charged"

    async def _charge(self, key: str) -> None:
        await workflow.execute_activity("charge", key, start_to_close_timeout=LIMIT)

    @workflow.signal
    def cancel(self) -> None:
        if self._task is not None:
            self.cancelled = True
            self._task.cancel()

    @workflow.query
    def is_cancelled(self) -> bool:
        return self.cancelled


def a_cancel_counts(view: View) -> str | None:
    lost = view.ended == "completed" and view.result == "charged" and view.query("is_cancelled")
    return "It was cancelled, and it charged." if lost else None


def test_a_lost_cancel_is_found_as_two_things_in_one_task() -> None:
    violation = found(scenario(LosesACancel, a_cancel_counts, messages=[Say("cancel")]))
    assert batches(violation) == 1
    assert sorted(label.strip("!") for label in violation.trace[-1]) == ["cancel", "charge.1=ok"]
    assert "charge happens" in violation.story
    assert "commands  schedule activity charge" in violation.story


@workflow.defn(name="ChargesTwice")
class ChargesTwice:
    """After a time-out it charges again, under another key."""

    @workflow.run
    async def run(self, key: str) -> None:
        for attempt in range(3):
            try:
                await workflow.execute_activity(
                    "charge", f"{key}-{attempt}", start_to_close_timeout=LIMIT, retry_policy=ONCE
                )
            except ActivityError:
                continue
            return


def test_a_double_charge_is_found_by_one_lost_answer() -> None:
    violation = found(scenario(ChargesTwice, nothing_twice))
    assert batches(violation) == 1
    (label,) = violation.trace[-1]
    assert label in {"charge.1=lost", "charge.1=late", "charge.1=error-after"}


@workflow.defn(name="LosesAWakeUp")
class LosesAWakeUp:
    """It clears the flag after it has looked, so a message that comes meanwhile wakes nobody."""

    def __init__(self) -> None:
        self.woken = False

    @workflow.run
    async def run(self, key: str) -> None:
        await workflow.execute_activity("look", start_to_close_timeout=LIMIT)
        self.woken = False
        await workflow.wait_condition(lambda: self.woken)

    @workflow.signal
    def wake(self) -> None:
        self.woken = True


def somebody_wakes_it(view: View) -> str | None:
    asleep = view.final and not view.ended and view.received("wake")
    return "It was woken, and sleeps on." if asleep else None


def test_a_lost_wake_up_is_found() -> None:
    violation = found(scenario(LosesAWakeUp, somebody_wakes_it, messages=[Say("wake")]))
    assert violation.trace == [["wake"]]


def test_a_run_that_waits_for_nothing_is_found() -> None:
    violation = found(scenario(LosesAWakeUp, always_waits_for_something()))
    assert violation.name == "always_waits_for_something"
    assert batches(violation) == 0


@workflow.defn(name="Undetermined", sandboxed=False)
class Undetermined:
    """Its next step depends on something that a replay does not repeat."""

    @workflow.run
    async def run(self, key: str) -> None:
        await workflow.execute_activity(
            random.choice(["charge", "look"]),
            key,
            start_to_close_timeout=LIMIT,
        )


def test_what_a_replay_does_not_repeat_is_found() -> None:
    with pytest.raises(Violation, match="replays"):
        scenario(Undetermined).explore(traces=100, seed=1)


@workflow.defn(name="Endless")
class Endless:
    @workflow.run
    async def run(self, key: str) -> None:
        while True:
            await workflow.sleep(60)


def test_a_run_that_never_ends_is_found() -> None:
    violation = found(scenario(Endless), traces=1)
    assert violation.name == "ends"


@workflow.defn(name="Unregistered")
class Unregistered:
    @workflow.run
    async def run(self, key: str) -> None:
        workflow.upsert_search_attributes([SearchAttributeKey.for_keyword("Nowhere").value_set("x")])


def test_a_search_attribute_that_is_not_registered_fails_the_task() -> None:
    violation = found(scenario(Unregistered, search_attributes=()), traces=1)
    assert violation.name == "task_never_fails"
    assert "Nowhere" in violation.problem


class _Patient:
    """Sound: cancelled, it refunds what may have happened."""

    def __init__(self) -> None:
        self.stop = False

    async def _charged(self, key: str) -> str:
        charge = workflow.start_activity("charge", key, start_to_close_timeout=LIMIT, retry_policy=ONCE)
        failed = False
        try:
            await charge
        except ActivityError:
            failed = True
        if failed or self.stop:
            await workflow.execute_activity("refund", key, start_to_close_timeout=LIMIT)
            raise ApplicationError("It was refunded.")
        return "charged"

    @workflow.signal
    def cancel(self) -> None:
        self.stop = True


@workflow.defn(name="Patient")
class Patient(_Patient):
    @workflow.run
    async def run(self, key: str) -> str:
        return await self._charged(key)


SOUND = scenario(Patient, no_forgotten_effect, nothing_twice, messages=[Say("cancel", times=2)])


def test_a_sound_workflow_passes_in_every_trace_to_a_depth() -> None:
    report = SOUND.explore(depth=2, seconds=20)
    assert report.exhausted
    assert len(report.states) > 20


@workflow.defn(name="LeavesACall")
class LeavesACall:
    """Ends in the workflow task in which it schedules a charge."""

    @workflow.run
    async def run(self, key: str) -> None:
        _ = workflow.start_activity("charge", key, start_to_close_timeout=LIMIT)


def test_what_is_scheduled_with_the_end_of_the_run_never_begins() -> None:
    story = scenario(LeavesACall).explore(replay="").story
    assert story.index("schedule activity charge") < story.index("complete workflow execution")
    assert "charge happens" not in story


@workflow.defn(name="Remembers")
class Remembers:
    """Charges twice when it was refused before: only its own state tells that."""

    def __init__(self) -> None:
        self.refused = self.told = False

    @workflow.run
    async def run(self, key: str) -> None:
        try:
            await workflow.execute_activity("look", start_to_close_timeout=LIMIT)
        except ActivityError:
            self.refused = True
        await workflow.wait_condition(lambda: self.told)
        for number in range(1 + self.refused):
            await workflow.execute_activity("charge", f"{key}-{number}", start_to_close_timeout=LIMIT)

    @workflow.signal
    def go_on(self) -> None:
        self.told = True

    @workflow.query
    def was_refused(self) -> bool:
        return self.refused


def test_states_are_told_apart_by_what_the_workflow_answers() -> None:
    class Refusing(Till):
        activities: ClassVar = {
            **Till.activities,
            "look": Activity(lambda world, call: None, role="other", faults=frozenset({"refused"})),
        }

    later = Say("go_on", when=lambda view: view.tasks > 1 and not view.outstanding)
    remembers = scenario(Remembers, nothing_twice, world=Refusing, messages=[later])
    violation = found(remembers, depth=2)
    assert violation.trace[:3] == [[], ["look.1=refused"], ["go_on"]]


def test_what_is_known_is_not_run_again_but_replayed_once() -> None:
    one = variant(SOUND, name="known").explore(traces=1, seed=5)
    many = variant(SOUND, name="known, often").explore(traces=400, seed=5)
    assert one.activations >= 2 * one.tasks
    assert many.activations < many.tasks  # each of them and its replay would be twice as many


@workflow.defn(name="Counted")
class Counted(_Patient):
    """Knows its instances; one of its queries needs an argument."""

    alive: ClassVar[weakref.WeakSet[Counted]] = weakref.WeakSet()

    def __init__(self) -> None:
        super().__init__()
        self.alive.add(self)

    @workflow.run
    async def run(self, key: str) -> str:
        return await self._charged(key)

    @workflow.query
    def is_stopped_for(self, key: str) -> bool:
        return self.stop


def test_an_exploration_keeps_no_instances() -> None:
    """Also not by the tracebacks of what they raised."""
    variant(SOUND, workflow=Counted, name="Counted").explore(traces=20, seed=1)
    gc.collect()
    assert not Counted.alive


def test_the_same_seed_gives_the_same_traces() -> None:
    one = variant(SOUND, name="one").explore(traces=30, seed=5)
    two = variant(SOUND, name="two").explore(traces=30, seed=5)
    assert (one.tasks, one.states) == (two.tasks, two.states)


def test_a_trace_is_text() -> None:
    trace = [["cancel"], ["charge.1=ok", "!cancel"], []]
    assert parsed(written(trace)) == trace


def test_what_arrives_while_the_closing_task_is_under_way_is_heard() -> None:
    """The server refuses the closing command, and the task is done again with the message."""
    report = SOUND.explore(replay="; charge.1=ok + !cancel")
    assert "charge is undone" in report.story
    assert "charge is undone" not in SOUND.explore(replay="; charge.1=ok").story


def test_a_late_call_meets_the_tombstone() -> None:
    story = SOUND.explore(replay="; charge.1=late; refund.2=ok; charge.1=lands").story
    assert "charge is refused" in story or "is barred" in story


def test_a_long_exploration_tells_each_violation_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = [scenario(ChargesTwice, nothing_twice), scenario(Endless)]
    monkeypatch.setattr(catalogue, "SCENARIOS", planted)
    assert main(minutes=1 / 60, seed="1", only="") == 1
    told = capsys.readouterr().out
    assert told.count("replay=") == 2
    assert "VIOLATED ChargesTwice: nothing_twice" in told
    assert "VIOLATED Endless: ends" in told


def test_in_a_long_exploration_every_scenario_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios = [variant(SOUND, name="the first"), variant(SOUND, name="the last")]
    monkeypatch.setattr(catalogue, "SCENARIOS", scenarios)
    assert main(minutes=0.4 / 60, seed="1", only="") == 0
    assert totals["the last"].traces


def test_a_long_exploration_of_sound_workflows_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "SCENARIOS", [SOUND])
    assert main(minutes=0.2 / 60, seed="1", only="patient") == 0
    assert main(minutes=0.2 / 60, seed="1", only="nobody") == 2
