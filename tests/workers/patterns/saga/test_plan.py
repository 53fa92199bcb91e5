"""Sagas as data: what cannot run as it is declared is said before the first step, a sentence each."""

from __future__ import annotations

import pytest

from tests.workers.patterns.saga.fake_services import a_plan, nested, step, thrice
from workers.patterns.saga.messages import Retry
from workers.patterns.saga.plan import DEEPEST, MAX_INPUT_BYTES, MOST_STEPS, SagaPlan, SagaRules, SagaStep


def a(name: str = "", **more: object) -> SagaStep:
    return SagaStep.model_validate({"activity": "pay", "name": name, **more})


DEEP = SagaPlan(steps=[a()])
for _ in range(DEEPEST):
    DEEP = SagaPlan(steps=[SagaStep(name="deeper", saga=DEEP)])


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (SagaPlan(), "A saga needs at least one step."),
        (SagaPlan(steps=[a(), a()]), "Two steps are called pay; give one a name."),
        (SagaPlan(steps=[SagaStep()]), "Step ? needs either an activity or a saga."),
        (SagaPlan(steps=[a(saga=SagaPlan(steps=[a()]))]), "Step pay needs either an activity or a saga."),
        (SagaPlan(steps=[SagaStep(saga=SagaPlan(steps=[a()]))]), "Step '': a name has"),
        (SagaPlan(steps=[a("pay/undo")]), "a name has up to 100 letters"),
        (SagaPlan(steps=[a("x" * 101)]), "a name has up to 100 letters"),
        (SagaPlan(steps=[SagaStep(name="n", saga=SagaPlan())]), "A saga needs at least one step."),
        (SagaPlan(steps=[a("1", group="g"), a("2"), a("3", group="g")]), "The steps of group g must stand"),
        (SagaPlan(steps=[a(group="g", point_of_no_return=True)]), "a point of no return stands alone"),
        (SagaPlan(steps=[SagaStep(name="n", saga=SagaPlan(steps=[a()]), undo="x")]), "no undo of its own"),
        (SagaPlan(steps=[a(str(n)) for n in range(MOST_STEPS + 1)]), "nest some of them"),
        (DEEP, "nested 5 deep at most"),
        (
            SagaPlan(steps=[a("1", needs=["2"]), a("2")]),
            "1 needs the result of 2, which is no step before",
        ),
        (
            SagaPlan(steps=[a("1"), a("2", needs=["3"])]),
            "2 needs the result of 3, which is no step before",
        ),
        (SagaPlan(steps=[a("1"), a("2", undo_after=["1"])]), "undone after 1, which is no step after it."),
        (SagaPlan(steps=[a(amount={"minor": 1, "currency": "EUR"})]), "has an amount, so it needs an undo"),
        (SagaPlan(steps=[a(input="x" * MAX_INPUT_BYTES)]), "the history would outgrow its limit"),
        (
            SagaPlan(steps=[a(str(n), needs=[str(m) for m in range(n)]) for n in range(60)]),
            "their inputs may reach 29,0",
        ),
        (SagaPlan(steps=[a("1/2")], rules=SagaRules(max_result_bytes=1)), "a name has up to 100 letters"),
    ],
)
def test_what_cannot_run_as_declared_is_said(plan: SagaPlan, problem: str) -> None:
    assert problem in " ".join(plan.problems())


def test_steps_of_a_group_run_side_by_side_and_all_names_are_known_beforehand() -> None:
    inner = SagaPlan(steps=[a("inner", activity="ship", undo="return")])
    plan = SagaPlan(
        steps=[
            a("1"),
            a("2", group="g"),
            a("3", group="g"),
            SagaStep(name="n", saga=inner),
            a("4", undo="refund"),
        ]
    )
    assert plan.problems() == []
    assert [[step.name for step in part] for part in plan.parts()] == [["1"], ["2", "3"], ["n"], ["4"]]
    assert plan.activities() == ["pay", "ship", "return", "refund"]


def test_needing_fewer_results_or_smaller_ones_keeps_a_plan_in_bounds() -> None:
    each_needs_all = [a(str(n), needs=[str(m) for m in range(n)]) for n in range(60)]
    each_needs_one = [a(str(n), needs=[str(n - 1)] if n else []) for n in range(60)]
    assert SagaPlan(steps=each_needs_one).problems() == []
    assert SagaPlan(steps=each_needs_all, rules=SagaRules(max_result_bytes=4_096)).problems() == []


def test_a_point_of_no_return_may_have_an_amount_and_no_undo() -> None:
    pivot = a(amount={"minor": 1, "currency": "EUR"}, point_of_no_return=True)
    assert SagaPlan(steps=[pivot]).problems() == []


def test_a_plan_survives_the_wire() -> None:
    plan = a_plan(step("one", undo_retry=thrice()), nested("inner", step("two", group="g")))
    assert SagaPlan.model_validate_json(plan.model_dump_json()) == plan


def test_waits_grow_up_to_their_most() -> None:
    retry = Retry(initial_seconds=1, backoff=3, maximum_seconds=10)
    assert [retry.wait(attempt) for attempt in (1, 2, 3, 4, 10_000)] == [1, 3, 9, 10, 10]
    assert retry.policy().maximum_attempts == 8


@pytest.mark.parametrize("retry", [Retry(), thrice(), Retry(attempts=0, maximum_seconds=3_600)])
def test_a_retry_policy_survives_as_data(retry: Retry) -> None:
    assert Retry.model_validate_json(retry.model_dump_json()).policy() == retry.policy()
