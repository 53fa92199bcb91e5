"""SagaWorkflow, simulated: whatever happens, all is done, or all is undone, or an operator knows."""

from __future__ import annotations

from typing import ClassVar
from unittest import mock

import pytest

from tests.workers.explore.models import ALL_FAULTS, EDITS, PLATFORM, cancels, operator, step, told, undo
from workers.contracts import Money, Resume
from workers.patterns.saga.compensation import Compensator
from workers.patterns.saga.messages import Retry, SagaResult
from workers.patterns.saga.plan import SagaPlan, SagaRules, SagaStep
from workers.patterns.saga.recovery import TIMEOUT, Action, RecoveryPolicy, Rule
from workers.patterns.saga.workflow import SagaWorkflow
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import SAGA, history_bounded
from workers.testing.messages import Say
from workers.testing.view import View
from workers.testing.world import Activity, Call, Child, World

RULES = SagaRules(undo_attempts=2)


class Services(World):
    """The activities `book` and `cancel_booking`, and `issue`, which nothing undoes."""

    activities: ClassVar = {
        **PLATFORM,
        "book": Activity(step, faults=ALL_FAULTS, dependency="bookings"),
        "cancel_booking": Activity(undo, role="undo", dependency="bookings"),
        "issue": Activity(step, faults=ALL_FAULTS),
    }


def _nested(world: World, call: Call, end: str) -> SagaResult:
    """A nested saga of one step: a failed or cancelled one has undone it."""
    key = f"{call.id}/inner"
    world.ledger.do(key, "inner")
    if end in ("failed", "cancelled"):
        world.ledger.undo(key, f"{key}/undo")
    steps = [{"step": "inner", "undo": "cancel_booking", "idempotency_key": key}]
    return SagaResult.model_validate({"compensations": steps})


class Nested(Services):
    children: ClassVar = {"SagaWorkflow": Child(_nested)}


def a_step(name: str, **more: object) -> SagaStep:
    given = {"activity": "book", "undo": "cancel_booking", "attempts": 2, **more}
    return SagaStep(name=name, input=name, amount=Money(minor=100, currency="EUR"), **given)


def plan(*steps: SagaStep) -> SagaPlan:
    return SagaPlan(steps=list(steps), rules=RULES)


INNER = SagaStep(name="nested", saga=plan(a_step("inner")))
TICKETS = a_step("tickets", activity="issue", undo="", attempts=1, point_of_no_return=True)
RESUME = Say("resume", Resume(dependency="bookings", lease="l-1"), times=2)
SAGAS = Scenario(
    SagaWorkflow,
    plan(a_step("a"), a_step("b"), a_step("c", point_of_no_return=True), a_step("d")),
    Services,
    SAGA,
    # no evidence for a retry: it would be a lie where the effect is there
    messages=[
        *cancels(),
        RESUME,
        *operator("settled_outside", "skip"),
        *operator("retry", evidence=""),
        EDITS,
    ],
    closing=operator("settled_outside"),
)
NESTED = variant(
    SAGAS, world=Nested, input=plan(a_step("a"), INNER, a_step("z")), name="SagaWorkflow, nested"
)
GROUPS = variant(
    SAGAS,
    input=plan(a_step("a"), a_step("b", group="g"), a_step("c", group="g"), TICKETS, a_step("z")),
    name="SagaWorkflow, groups",
)
UNDO_AFTER = variant(
    SAGAS,
    input=plan(a_step("a", undo_after=[]), a_step("b", undo_after=["d"]), a_step("c"), a_step("d")),
    name="SagaWorkflow, undo_after",
)
REQUIRED = variant(
    SAGAS, world=Nested, input=plan(a_step("a"), TICKETS, INNER, a_step("z")), name="SagaWorkflow, required"
)
POLICY = RecoveryPolicy(
    rules=[
        Rule(errors=["Unavailable"], retry=Retry(attempts=3), then=Action.COMPENSATE),
        Rule(errors=["Declined"], retry=Retry(attempts=2)),
        Rule(errors=[TIMEOUT], action=Action.COMPENSATE),
    ],
    otherwise=Rule(action=Action.ESCALATE),
)
RECOVERY = variant(
    SAGAS,
    input=plan(a_step("a", recovery=POLICY), a_step("b", recovery=POLICY), a_step("c")),
    name="SagaWorkflow, recovery",
)
EVERYTHING = [SAGAS, NESTED, GROUPS, UNDO_AFTER, REQUIRED, RECOVERY]
"""Each with every fault, message and cancellation."""


@pytest.mark.parametrize("scenario", EVERYTHING, ids=lambda scenario: scenario.label)
def test_all_is_done_or_undone_or_an_operator_knows(scenario: Scenario) -> None:
    scenario.explore(traces=60, seed=1)


SOUND = variant(SAGAS, input=plan(a_step("a"), a_step("b")), messages=[], native_cancel=False)
CANCELLED = variant(SOUND, messages=cancels()[:1])
ONCE = variant(SOUND, input=plan(a_step("a", attempts=1), a_step("b", attempts=1)))


@pytest.mark.parametrize(
    "replay",
    [
        "cancel",
        "; cancel",
        "; resolve_activities.1=ok + cancel",
        "; cancel + resolve_activities.1=ok",
        "; resolve_activities.1=ok; a=ok + cancel",
        "; resolve_activities.1=ok; cancel + a=ok",
        "; resolve_activities.1=ok; a=ok; b=ok + cancel",
        "; resolve_activities.1=ok; a=ok; cancel + b=ok",
        "; resolve_activities.1=ok; a=declined + cancel",
        "; resolve_activities.1=ok; a=open; timer.1 + cancel",
        "; resolve_activities.1=ok; a=open; cancel + timer.1",
    ],
)
def test_a_cancel_holds_whatever_shares_its_workflow_task(replay: str) -> None:
    told(CANCELLED, replay)


def test_a_cancel_holds_at_every_point_of_a_small_saga() -> None:
    class Quiet(Services):
        activities: ClassVar = {
            **Services.activities,
            "book": Activity(step, faults=frozenset()),
            "cancel_booking": Activity(undo, role="undo", faults=frozenset()),
        }

    variant(CANCELLED, world=Quiet, name="SagaWorkflow, cancelled").explore(depth=2)


@pytest.mark.parametrize(
    ("scenario", "replay"),
    [
        (SOUND, "; resolve_activities.1=ok; a=lost; a=refused"),
        (SOUND, "; resolve_activities.1=ok; a=lost; a=reset; a=open"),
        (ONCE, "; resolve_activities.1=ok; a=refused-after"),
        (ONCE, "; resolve_activities.1=ok; a=ok; b=late"),
    ],
)
def test_what_may_have_happened_is_undone_whatever_failed(scenario: Scenario, replay: str) -> None:
    told(scenario, replay)


PIVOT = variant(SOUND, input=plan(a_step("a"), TICKETS), name="SagaWorkflow, point of no return")


@pytest.mark.parametrize("end", ["lost", "late", "refused", "error-after", "declined"])
def test_a_point_of_no_return_that_may_be_passed_is_known_to_an_operator(end: str) -> None:
    told(PIVOT, f"; resolve_activities.1=ok; a=ok; tickets={end}")


def test_a_point_of_no_return_that_is_passed_while_the_run_is_cancelled_counts() -> None:
    cancelled = variant(PIVOT, native_cancel=True)
    told(cancelled, "; resolve_activities.1=ok; a=ok; tickets=ok + cancel-run")


def test_an_edited_undo_is_not_done_twice() -> None:
    class Shaky(Services):
        activities: ClassVar = {
            **Services.activities,
            "cancel_booking": Activity(undo, role="undo", faults=frozenset({"lost"})),
        }

    edited = variant(SOUND, world=Shaky, messages=[EDITS])
    told(edited, "; resolve_activities.1=ok; a=ok; b=refused; b/undo=lost; b/undo=lost; operator-edits")


def test_a_declined_step_that_an_operator_has_run_again_is_done() -> None:
    """The gateway refuses the first key for good, so the second run needs another one."""
    retried = variant(
        SAGAS, input=plan(a_step("a", point_of_no_return=True), a_step("z")), native_cancel=False
    )
    story = told(retried, "; resolve_activities.1=ok; a=ok; z=declined; operator-retry; z#2=ok")
    assert "z happens [run-1/z/1/r2]" in story


def test_a_bug_while_it_compensates_leaves_the_run_open() -> None:
    """Its workflow task fails until the code is repaired: an end would forget what is not undone."""

    def ends_open(view: View) -> str | None:
        return f"It ended: {view.ended}." if view.task_failure and view.ended else None

    with mock.patch.object(Compensator, "_argument", side_effect=KeyError("reference")):
        broken = variant(ONCE, task_failures=True, invariants=[*SAGA, ends_open], name="SagaWorkflow, a bug")
        broken.explore(traces=20, seed=5)
        story = told(broken, "; resolve_activities.1=ok; a=ok; b=declined")
    assert "KeyError" in story


def test_the_history_of_a_long_saga_is_bounded() -> None:
    class Verbose(World):
        activities: ClassVar = {
            **PLATFORM,
            "talk": Activity(lambda world, call: "x" * 9_500, faults=frozenset()),
        }

    names = [f"s{number}" for number in range(110)]
    steps = plan(
        *(
            SagaStep(name=name, activity="talk", needs=names[max(0, number - 5) : number])
            for number, name in enumerate(names)
        )
    )
    scenario = Scenario(
        SagaWorkflow, steps, Verbose, [history_bounded(51_200, 50_000_000)], native_cancel=False
    )
    scenario.explore(traces=1)


def it_is_not_running_at_the_end(view: View) -> str | None:
    """A run that has ended has no step of which it still says that it runs."""
    if not view.ended:
        return None
    running = [step["name"] for step in view.query("get_saga_status")["steps"] if step["status"] == "running"]
    return f"The run is {view.ended}, but {', '.join(running)} is said to run." if running else None


def test_a_nested_saga_whose_id_is_in_use_is_known_to_an_operator() -> None:
    taken = variant(
        REQUIRED, messages=[], native_cancel=False, invariants=[*SAGA, it_is_not_running_at_the_end]
    )
    told(taken, "; resolve_activities.1=ok; a=ok; tickets=ok; child.simulated-nested-run-1=exists")
