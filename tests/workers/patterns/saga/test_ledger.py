"""The books of a saga: whatever fails, what may have happened is undone once, in reverse, and no more."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts import Decision, Money, Outcome, SagaState, StepState, StepStatus
from workers.patterns.saga.ledger import Entry, Ledger
from workers.patterns.saga.messages import Compensation, Retry
from workers.patterns.saga.plan import DEEPEST, MOST_STEPS, SagaPlan, SagaStep


@dataclass
class Fate:
    """How a step went: `held` by a breaker first, then `end`, with or without effect on the outside."""

    name: str
    held: int
    end: str
    effect: bool
    undo: bool
    minor: int


FATES = st.builds(
    Fate,
    name=st.sampled_from(["charge", "reserve", "ship"]),
    held=st.integers(0, 2),
    end=st.sampled_from(["done", "refused", "timed out", "running", "waiting"]),
    effect=st.booleans(),
    undo=st.booleans(),
    minor=st.integers(1, 500),
)


def nothing() -> None:
    """Nobody looks."""


def played(fate: Fate, ledger: Ledger, outside: set[str], final: bool = False) -> Entry:
    """Take the step through its fate; `outside` gets its key when it has an effect there."""
    money = Money(minor=fate.minor, currency="EUR")
    status = StepStatus(name=fate.name, amount=money, point_of_no_return=final)
    entry = ledger.register("run", status, undo=f"undo_{fate.name}" if fate.undo else "")
    if fate.held:
        entry.starts()
        entry.held(fate.held, "Held.")  # refused at the first try, or at a later one
        if fate.held > 1 and fate.effect:
            outside.add(status.idempotency_key)
    if fate.end == "waiting":
        return entry
    entry.starts()
    if fate.end == "refused":
        outside.discard(status.idempotency_key)  # the gateway answers by key: its refusal is the truth
        entry.refused("No.")
        return entry
    if fate.effect or fate.end == "done":
        outside.add(status.idempotency_key)
    if fate.end == "done":
        entry.done({"ok": True})
    elif fate.end == "timed out":
        entry.unknown("Timed out.")
    return entry


def unwound(ledger: Ledger, outside: set[str]) -> list[str]:
    """Undo all that is owed; the keys in that order."""
    keys = []
    for entry in reversed(ledger.owed()):
        entry.undo_starts()
        outside.discard(entry.status.idempotency_key)
        entry.undo.status = StepState.DONE
        keys.append(entry.status.idempotency_key)
    return keys


@settings(deadline=None, max_examples=100)
@given(st.lists(FATES, max_size=8))
def test_what_may_have_happened_is_undone_once_in_reverse(fates: list[Fate]) -> None:
    ledger, outside = Ledger(nothing), set[str]()
    entries = [played(fate, ledger, outside) for fate in fates]
    keys = [entry.status.idempotency_key for entry in entries]
    assert len(set(keys)) == len(keys)
    maybe = [entry for entry in entries if entry.maybe]
    assert outside <= {entry.status.idempotency_key for entry in maybe}
    assert sum(money.minor for money in ledger.exposure()) == sum(
        entry.status.amount.minor for entry in maybe if entry.status.amount
    )
    undone = unwound(ledger, outside)
    reversible = [entry for entry in maybe if entry.status.compensation]
    assert undone == [entry.status.idempotency_key for entry in reversed(reversible)]
    with_undo = {entry.status.idempotency_key for entry in entries if entry.status.compensation}
    assert not outside & with_undo
    assert {"refused", "waiting"}.isdisjoint(
        fate.end for fate, key in zip(fates, keys, strict=True) if key in undone and fate.held < 2
    ), "what surely did not happen is left alone"


@settings(deadline=None, max_examples=60)
@given(st.lists(FATES, max_size=5), st.lists(FATES, max_size=5))
def test_the_point_of_no_return_divides_what_is_undone(before: list[Fate], after: list[Fate]) -> None:
    ledger, outside = Ledger(nothing), set[str]()
    for fate in before:
        played(fate, ledger, outside)
    assert not ledger.committed
    kept = set(outside)
    pivot = played(Fate("ship", 0, "done", True, True, 7), ledger, outside, final=True)
    assert ledger.committed
    later = [played(fate, ledger, outside).status.idempotency_key for fate in after]
    undone = unwound(ledger, outside)
    assert set(undone) <= set(later)
    assert kept | {pivot.status.idempotency_key} <= outside


@settings(deadline=None, max_examples=60)
@given(st.lists(FATES, max_size=4), st.lists(FATES, max_size=4))
def test_what_a_nested_saga_hands_over_is_undone_as_ones_own(own: list[Fate], nested: list[Fate]) -> None:
    outside = set[str]()
    parent, child = Ledger(nothing), Ledger(nothing)
    for fate in own:
        played(fate, parent, outside)
    for fate in nested:
        played(fate, child, outside)
    owed = [entry.status.idempotency_key for entry in child.owed()]
    step = parent.register("parent", StepStatus(name="nested", child_workflow_id="w-nested"))
    step.done({})
    handed = [Compensation.model_validate_json(item.model_dump_json()) for item in child.compensations()]
    parent.take_over(step, handed)
    late = played(Fate("charge", 0, "done", True, True, 1), parent, outside)
    assert len({entry.label for entry in parent.entries}) == len(parent.entries)
    undone = unwound(parent, outside)
    assert undone[: len(owed) + 1] == [late.status.idempotency_key, *reversed(owed)]
    assert parent.exposure() == [
        money for money in [Money(minor=_without_undo(parent), currency="EUR")] if money.minor
    ]


def _without_undo(ledger: Ledger) -> int:
    left = [e for e in ledger.entries if e.maybe and e.status.compensation is None and e.status.amount]
    return sum(e.status.amount.minor for e in left if e.status.amount)


def test_exposure_is_a_sum_for_each_currency_without_what_was_undone_or_settled() -> None:
    ledger = Ledger(nothing)
    for minor, currency, undo in [
        (100, "EUR", StepState.PENDING),
        (50, "USD", StepState.STUCK),
        (20, "EUR", StepState.SKIPPED),
        (7, "EUR", StepState.DONE),
        (5, "USD", StepState.SETTLED),
    ]:
        status = StepStatus(name="charge", amount=Money(minor=minor, currency=currency))
        entry = ledger.register("run", status, undo="refund")
        entry.done(None)
        entry.undo.status = undo
    assert ledger.status().exposure == [Money(minor=120, currency="EUR"), Money(minor=50, currency="USD")]


def stuck() -> tuple[Ledger, Entry]:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="charge"), undo="refund")
    entry.done(None)
    entry.undo_starts()
    entry.undo.status = StepState.STUCK
    return ledger, entry


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (Decision(choice="retry", step="other"), "No compensation of that step is stuck."),
        (Decision(choice="burn"), "The choice must be one of"),
        (Decision(), "The choice must be one of"),
        (Decision(choice="skip"), "say what shows that it is right"),
        (Decision(choice="settled_outside", evidence=" "), "say what shows that it is right"),
    ],
)
def test_a_word_that_settles_nothing_is_refused_with_a_sentence(decision: Decision, said: str) -> None:
    ledger, entry = stuck()
    outcome, detail, _ = ledger.resolve(decision)
    assert outcome is Outcome.REFUSED
    assert said in detail
    assert entry.choice == ""


def test_an_edited_input_gets_a_key_of_its_own_and_a_second_word_is_refused() -> None:
    ledger, entry = stuck()
    before = entry.undo_key
    assert ledger.resolve(Decision(choice="retry", input={"iban": "x"}))[0] is Outcome.APPLIED
    assert (before, entry.undo_key) == ("run/charge/1/undo/1", "run/charge/1/undo/2")
    assert ledger.resolve(Decision(choice="retry"))[0] is Outcome.REFUSED


def test_what_nobody_can_undo_is_settled_and_not_retried() -> None:
    ledger, entry = stuck()
    entry.by_hand = True
    assert ledger.resolve(Decision(choice="retry"))[0] is Outcome.REFUSED
    assert ledger.resolve(Decision(choice="skip", evidence="Seen."))[0] is Outcome.APPLIED


def test_a_step_is_tried_again_as_it_is() -> None:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="mail"))
    entry.status.status = StepState.STUCK
    assert ledger.resolve(Decision(choice="retry", input={"to": "x"}))[0] is Outcome.REFUSED
    assert ledger.resolve(Decision(choice="retry", step="mail"))[0] is Outcome.APPLIED


def test_changed_is_called_once_for_each_state() -> None:
    seen: list[SagaState] = []
    ledger = Ledger(lambda: seen.append(ledger.state))
    for state in (SagaState.RUNNING, SagaState.STUCK, SagaState.STUCK, SagaState.COMPENSATED):
        ledger.go(state)
    assert seen == [SagaState.STUCK, SagaState.COMPENSATED]


def test_waits_grow_up_to_their_most() -> None:
    retry = Retry(initial_seconds=1, backoff=3, maximum_seconds=10)
    assert [retry.wait(attempt) for attempt in (1, 2, 3, 4, 10_000)] == [1, 3, 9, 10, 10]
    assert retry.policy().maximum_attempts == 8


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
    ],
)
def test_what_cannot_run_as_declared_is_told(plan: SagaPlan, problem: str) -> None:
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
