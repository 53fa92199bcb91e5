"""Faults that sagas once had, planted back one at a time: random exploration finds each of them.

They show that the simulator can find such faults, and that the invariants still look at what matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from unittest import mock

import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError, ChildWorkflowError

from tests.workers.explore.models import EDITS, cancels, operator, step, undo
from tests.workers.explore.test_saga import INNER, RESUME, SAGAS, TICKETS, Nested, Services, a_step, plan
from workers.interceptors import failures
from workers.patterns.guarded_calls import GuardedCalls
from workers.patterns.saga import compensation, handlers, ledger, saga, steps
from workers.patterns.saga import workflow as saga_workflow
from workers.patterns.saga.messages import Retry, UndoCall
from workers.patterns.saga.plan import SagaPlan, SagaStep
from workers.patterns.saga.recovery import Action
from workers.patterns.saga.workflow import SagaWorkflow
from workers.testing.explore import Scenario, Violation, variant
from workers.testing.invariants import SAGA, history_bounded
from workers.testing.outstanding import Jobs, Running
from workers.testing.view import View
from workers.testing.world import Activity, Ledger, World

T = TypeVar("T")


@dataclass(frozen=True)
class Plant:
    """`plant`: puts the fault into the code. `names`: of the invariants that see it. `given`: what is there
    without the fault too. `traces`: at most, to find it."""

    scenario: Scenario
    plant: Callable[[], AbstractContextManager[Any]]
    names: tuple[str, ...]
    given: Callable[[], AbstractContextManager[Any]] = nullcontext
    traces: int = 1_000


def world(book: set[str], cancel_booking: set[str] = frozenset(), base: type = Services) -> type[World]:  # type: ignore[assignment]
    """With these faults of steps and undos."""

    class Some(base):  # type: ignore[misc]
        activities: ClassVar = {
            **base.activities,
            "book": Activity(step, faults=frozenset(book), dependency="bookings"),
            "cancel_booking": Activity(undo, role="undo", faults=frozenset(cancel_booking)),
            "issue": Activity(step, faults=frozenset(book)),
        }

    return Some


def _scenario(*parts: SagaStep, **more: Any) -> Scenario:
    given = {"input": plan(*parts), "messages": (), "native_cancel": False, "away": (), **more}
    return variant(SAGAS, name="plants", **given)


A, B = a_step("a"), a_step("b")
CANCEL = cancels()[0]


@contextmanager
def cancel_is_lost() -> Iterator[None]:
    """A cancel only cancels the task; what has accepted it is not looked at."""

    def stopped(self: steps.Forward) -> bool:
        return workflow.cancellation_reason() is not None and not self.ledger.committed

    with mock.patch.object(steps.Forward, "stopped", property(stopped)):
        yield


@contextmanager
def failure_for_good_is_taken_for_a_refusal() -> Iterator[None]:
    def says_no_effect(error: BaseException | None) -> bool:
        return isinstance(error, ApplicationError) and error.non_retryable

    with (
        mock.patch.object(steps, "says_no_effect", says_no_effect),
        mock.patch.object(saga, "says_no_effect", says_no_effect),
    ):
        yield


@contextmanager
def unknown_point_of_no_return_is_passed_over() -> Iterator[None]:
    def owed(self: ledger.Ledger) -> list[ledger.Entry]:
        after = self.entries[self._point() + 1 :]
        return [entry for entry in after if entry.may_have_happened and entry.status.compensation]

    def decide(self: saga.Saga, entry: object, error: object, required: bool) -> Action:
        return Action.ESCALATE if required else Action.COMPENSATE

    with mock.patch.object(ledger.Ledger, "owed", owed), mock.patch.object(saga.Saga, "_decide", decide):
        yield


@contextmanager
def a_bug_after_the_second_step() -> Iterator[None]:
    keep = SagaWorkflow._keep

    def bad(self: SagaWorkflow, step: SagaStep, result: Any) -> None:
        if step.name == "b":
            raise KeyError("b")
        keep(self, step, result)

    with mock.patch.object(SagaWorkflow, "_keep", bad):
        yield


def a_bug_ends_the_run() -> AbstractContextManager[Any]:
    """Also after its first effect."""
    never = property(lambda self: False, lambda self, value: None)
    return mock.patch.object(failures._Outbound, "started", never)


@contextmanager
def an_edited_undo_needs_no_evidence() -> Iterator[None]:
    objection = ledger._objection

    def lax(entry: ledger.Entry, given: Any, **more: Any) -> str:
        found = objection(entry, given, **more)
        return "" if "give evidence that it did not" in found else found

    with mock.patch.object(ledger, "_objection", lax):
        yield


@contextmanager
def every_step_gets_all_results() -> Iterator[None]:
    one_step = SagaWorkflow._step

    async def with_all(self: SagaWorkflow, given: SagaStep) -> None:
        await one_step(self, given.model_copy(update={"needs": list(self._results)}))

    with mock.patch.object(SagaWorkflow, "_step", with_all):
        yield


@contextmanager
def nested_saga_that_cannot_start_is_not_noted() -> Iterator[None]:
    judge = steps._outcome

    def forgetful(entry: ledger.Entry, error: BaseException) -> tuple[str, str]:
        if isinstance(error, ChildWorkflowError):
            return judge(entry, error)
        return steps.NESTED_NOT_STARTED, str(error)

    with mock.patch.object(steps, "_outcome", forgetful):
        yield


@contextmanager
def the_attempt_number_is_believed() -> Iterator[None]:
    """A breaker's refusal of attempt 1 is taken for a call that was never sent."""
    refuse = Running._open

    def refused(self: Running, server: Any) -> Jobs:
        self.again = self.attempt > 1
        return refuse(self, server)

    with mock.patch.object(Running, "_open", refused):
        yield


@contextmanager
def a_native_cancel_reaches_the_undos() -> Iterator[None]:
    async def unshielded(work: Coroutine[Any, Any, T]) -> T:
        return await work

    with ExitStack() as stack:
        for module in (saga, saga_workflow, handlers):
            stack.enter_context(mock.patch.object(module, "run_shielded", unshielded))
        yield


@contextmanager
def a_hold_is_not_shown() -> Iterator[None]:
    make = GuardedCalls.__init__

    def silent(self: GuardedCalls, seconds: float, changed: object = None) -> None:
        make(self, seconds, lambda: None)

    with mock.patch.object(GuardedCalls, "__init__", silent):
        yield


@contextmanager
def steps_begin_while_others_are_undone() -> Iterator[None]:
    """Of steps side by side the others go on when one fails."""

    async def together(self: saga.Saga, *parts: Coroutine[Any, Any, Any], group: str = "") -> list[Any]:
        return list(await asyncio.gather(*parts))

    with (
        mock.patch.object(saga.Saga, "together", together),
        mock.patch.object(steps.Forward, "check"),
        mock.patch.object(steps.Forward, "ended"),
    ):
        yield


@contextmanager
def an_undo_does_not_name_its_step() -> Iterator[None]:
    """So its tombstone stands under its own key, and a late call of the step has its effect."""

    def undo_without(self: Ledger, key: str, undo_key: str, what: str = "") -> bool:
        return key in self.effects and bar(self, key, undo_key, what)

    bar = Ledger.undo
    with mock.patch.object(Ledger, "undo", undo_without):
        yield


@contextmanager
def an_undo_that_is_retried_has_another_key() -> Iterator[None]:
    def argument(self: compensation.Compensator, entry: ledger.Entry, reason: str) -> UndoCall:
        key = f"{entry.undo_key}/{entry.undo_runs}"
        return UndoCall(idempotency_key=entry.status.idempotency_key, undo_key=key, reason=reason)

    with mock.patch.object(compensation.Compensator, "_argument", argument):
        yield


@contextmanager
def stuck_is_not_shown() -> Iterator[None]:
    with mock.patch.object(handlers.SagaHandlers, "waiting_for", handlers.HoldHandlers.waiting_for):
        yield


def none_runs_at_the_end(view: View) -> str | None:
    """A run that has ended has no step that runs."""
    found = view.query("get_saga_status")["steps"] if view.ended else []
    names = [step["name"] for step in found if step["status"] == "running"]
    return f"The run is {view.ended}, but {', '.join(names)} is said to run." if names else None


class Talkative(World):
    activities: ClassVar = {
        **Services.activities,
        "talk": Activity(lambda world, call: "x" * 9_500, faults=frozenset({"error"})),
    }


TALK = SagaPlan(steps=[SagaStep(name=f"s{number}", activity="talk") for number in range(20)])
SIDE_BY_SIDE = [a_step("p", group="g"), a_step("q", group="g")]
RETRY = [*operator("retry", evidence=""), *operator("settled_outside")]
PLANTS = {
    "lost cancel": Plant(_scenario(A, B, messages=[CANCEL]), cancel_is_lost, ("verdicts_hold",)),
    "refusal": Plant(
        _scenario(A, B, world=world({"lost", "refused"})),
        failure_for_good_is_taken_for_a_refusal,
        ("no_forgotten_effect",),
    ),
    "point of no return": Plant(
        _scenario(A, TICKETS, world=world({"lost"})),
        unknown_point_of_no_return_is_passed_over,
        ("no_forgotten_effect",),
    ),
    "bug": Plant(
        _scenario(A, B, task_failures=True),
        a_bug_ends_the_run,
        ("no_forgotten_effect",),
        a_bug_after_the_second_step,
    ),
    "edited undo": Plant(
        _scenario(
            a_step("a", attempts=1, undo_retry=Retry(attempts=1)),
            world=world({"error-after"}, {"lost"}),
            messages=[EDITS],
        ),
        an_edited_undo_needs_no_evidence,
        ("nothing_twice",),
    ),
    "history": Plant(
        _scenario(input=TALK, world=Talkative, invariants=[history_bounded(51_200, 1_000_000)]),
        every_step_gets_all_results,
        ("history_bounded",),
    ),
    "nested id": Plant(
        _scenario(A, INNER, world=Nested, invariants=[*SAGA, none_runs_at_the_end]),
        nested_saga_that_cannot_start_is_not_noted,
        ("none_runs_at_the_end",),
    ),
    "attempt number": Plant(
        _scenario(A, world=world({"lost"}), messages=[CANCEL]),
        the_attempt_number_is_believed,
        ("no_forgotten_effect",),
        traces=4_000,
    ),
    "native cancel": Plant(
        _scenario(A, B, world=world({"refused"}), native_cancel=True),
        a_native_cancel_reaches_the_undos,
        ("no_forgotten_effect",),
    ),
    "hold": Plant(_scenario(A, B), a_hold_is_not_shown, ("waits_are_visible", "always_waits_for_something")),
    "side by side": Plant(
        _scenario(A, *SIDE_BY_SIDE, world=world({"refused"}, {"error"}), messages=[RESUME]),
        steps_begin_while_others_are_undone,
        ("no_forgotten_effect", "task_never_fails"),
    ),
    "tombstone": Plant(
        _scenario(A, B, world=world({"late"})), an_undo_does_not_name_its_step, ("no_forgotten_effect",)
    ),
    "undo key": Plant(
        _scenario(A, B, world=world({"refused"}, {"lost"}), messages=RETRY),
        an_undo_that_is_retried_has_another_key,
        ("nothing_twice",),
    ),
    "stuck": Plant(
        _scenario(A, B, world=world({"refused"}, {"error"})),
        stuck_is_not_shown,
        ("waits_are_visible", "always_waits_for_something"),
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found(name: str) -> None:
    """Shrunk, and by the same trace without the fault all is well."""
    plant = PLANTS[name]
    with plant.given():
        with plant.plant(), pytest.raises(Violation) as caught:
            plant.scenario.explore(traces=plant.traces, seed=name)
        violation = caught.value
        assert violation.name in plant.names, violation
        assert len([label for batch in violation.trace for label in batch]) <= 8, violation.replay
        assert plant.scenario.explore(replay=violation.replay).story


def test_without_a_plant_a_saga_of_two_steps_passes_in_every_trace_to_a_depth() -> None:
    two = _scenario(A, B, world=world({"lost", "refused"}), messages=[CANCEL], native_cancel=True)
    report = variant(two, name="SagaWorkflow, two steps, to a depth").explore(depth=3)
    assert report.exhausted
    assert len(report.states) > 200
