"""SagaWorkflow, simulated: whatever happens, all is done, or all is undone, or a person knows."""

from __future__ import annotations

from typing import ClassVar

from tests.workers.explore.models import ALL_FAULTS, EDITS, PLATFORM, cancels, operator, step, undo
from workers.contracts import Money, Resume
from workers.patterns.saga.messages import SagaResult
from workers.patterns.saga.plan import SagaPlan, SagaRules, SagaStep
from workers.patterns.saga.workflow import SagaWorkflow
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import SAGA, history_bounded
from workers.testing.messages import Say
from workers.testing.view import View
from workers.testing.world import Activity, Call, Child, World

RULES = SagaRules(undo_attempts=2)


class Rails(World):
    """The activities `couple` and `uncouple`, which are called by many steps, and a nested saga."""

    activities: ClassVar = {
        **PLATFORM,
        "couple": Activity(step, dependency="rails"),
        "uncouple": Activity(undo, role="undo"),
        "issue": Activity(step),
    }


class SecretiveRails(Rails):
    """The platform may refuse what a finished step answers, as it holds a secret or is too large."""

    activities: ClassVar = {**Rails.activities, "couple": Activity(step, faults=ALL_FAULTS)}


def a_step(name: str, **more: object) -> SagaStep:
    given = {"activity": "couple", "undo": "uncouple", "attempts": 2, **more}
    return SagaStep(name=name, input=name, amount=Money(minor=100, currency="EUR"), **given)


def plan(*steps: SagaStep) -> SagaPlan:
    return SagaPlan(steps=list(steps), rules=RULES)


RESUME = Say("resume", Resume(dependency="rails", lease="l-1"), times=2)
SAGAS = Scenario(
    SagaWorkflow,
    plan(a_step("a"), a_step("b"), a_step("c", point_of_no_return=True), a_step("d")),
    Rails,
    SAGA,
    messages=[*cancels(), RESUME, *operator("retry", "settled_outside")],
    closing=operator("settled_outside"),
)
TWO = plan(a_step("a"), a_step("b"))
FAULTY = variant(
    SAGAS, input=TWO, messages=[RESUME, *operator("retry", "settled_outside")], native_cancel=False
)


def test_a_cancel_that_applies_stops_the_saga() -> None:
    variant(SAGAS, messages=cancels(), native_cancel=False).explore(traces=300, seed=1)


def test_what_may_have_happened_before_a_refusal_is_undone() -> None:
    FAULTY.explore(traces=600, seed=2)


def test_what_happened_before_the_platform_refused_its_answer_is_undone() -> None:
    once = plan(a_step("a", attempts=1), a_step("b", attempts=1))
    variant(FAULTY, input=once, world=SecretiveRails).explore(traces=300, seed=3)


PIVOT = plan(a_step("a"), a_step("tickets", activity="issue", undo="", attempts=1, point_of_no_return=True))


def test_a_point_of_no_return_that_may_be_passed_is_known_to_somebody() -> None:
    variant(FAULTY, input=PIVOT).explore(traces=300, seed=4)


def test_a_point_of_no_return_that_is_passed_while_the_run_is_cancelled_counts() -> None:
    cancelled = variant(FAULTY, input=PIVOT, native_cancel=True)
    cancelled.explore(replay="; resolve_activities.1=ok; a=ok; tickets=ok + cancel-run")


def test_an_edited_undo_is_not_done_twice() -> None:
    class Shaky(Rails):
        activities: ClassVar = {
            **Rails.activities,
            "uncouple": Activity(undo, role="undo", faults=frozenset({"lost"})),
        }

    edited = variant(FAULTY, world=Shaky, messages=[EDITS])
    edited.explore(
        replay="; resolve_activities.1=ok; a=ok; b=refused; a/undo=lost; a/undo=lost; operator-edits"
    )


def test_the_history_of_a_long_saga_is_bounded() -> None:
    class Verbose(World):
        activities: ClassVar = {
            **PLATFORM,
            "talk": Activity(lambda world, call: "x" * 9_500, faults=frozenset()),
        }

    steps = plan(*(SagaStep(name=f"s{n}", activity="talk") for n in range(110)))
    scenario = Scenario(
        SagaWorkflow, steps, Verbose, [history_bounded(51_200, 50_000_000)], native_cancel=False
    )
    scenario.explore(traces=1)


def _nested(world: World, call: Call, end: str) -> SagaResult:
    """A nested saga of one step: a failed or cancelled one has undone it."""
    key = f"{call.id}/inner"
    world.ledger.do(key, "inner")
    if end in ("failed", "cancelled"):
        world.ledger.undo(key, f"{key}/undo")
    steps = [{"step": "inner", "undo": "uncouple", "idempotency_key": key}]
    return SagaResult.model_validate({"compensations": steps})


class Nested(Rails):
    children: ClassVar = {"SagaWorkflow": Child(_nested)}


def test_a_nested_saga_whose_id_is_taken_is_known_to_somebody() -> None:
    taken = plan(
        a_step("a"), a_step("c", point_of_no_return=True), SagaStep(name="nested", saga=plan(a_step("inner")))
    )
    sequence = "; resolve_activities.1=ok; a=ok; c=ok; child.simulated-nested=exists"
    variant(FAULTY, world=Nested, input=taken, invariants=[*SAGA, it_is_not_running_at_the_end]).explore(
        replay=sequence
    )


def it_is_not_running_at_the_end(view: View) -> str | None:
    """A run that has ended has no step of which it still says that it runs."""
    if not view.ended:
        return None
    running = [step["name"] for step in view.query("get_saga_status")["steps"] if step["status"] == "running"]
    return f"The run is {view.ended}, but {', '.join(running)} is said to run." if running else None


NESTED = variant(
    FAULTY,
    world=Nested,
    input=plan(a_step("a"), SagaStep(name="nested", saga=plan(a_step("inner"))), a_step("z")),
)


def test_a_nested_saga_is_undone_with_the_one_around_it() -> None:
    class Free(Nested):
        children: ClassVar = {"SagaWorkflow": Child(_nested, exists=False)}
        activities: ClassVar = {
            **Nested.activities,
            "couple": Activity(step, faults=frozenset({"lost", "late", "error"})),
        }

    variant(NESTED, world=Free, messages=operator("settled_outside")).explore(traces=300, seed=6)


def test_the_steps_of_a_saga_without_refusals_are_done_or_undone() -> None:
    """What is sound today, in all traces of two batches, and in random ones."""

    class Sound(Rails):
        faults = frozenset({"lost", "dropped", "late", "error", "error-after"})
        activities: ClassVar = {
            **Rails.activities,
            "couple": Activity(step, faults=faults, dependency="rails"),
        }

    sound = variant(FAULTY, world=Sound, name="SagaWorkflow without cancel")
    sound.explore(traces=600, seed=7)
