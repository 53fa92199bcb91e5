"""The ledger of a saga: whatever fails, what may have happened is undone once, last first, and no more."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts import Decision, Money, Outcome, SagaState, StepState, StepStatus
from workers.patterns.saga.ledger import OPERATOR, Entry, Ledger
from workers.patterns.saga.messages import SagaResult


@dataclass
class Fate:
    """How a step went: `held` by a breaker first (1: before any attempt, 2: after one), then `end`, with or
    without effect on the outside."""

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
    end=st.sampled_from(["done", "declined", "failed", "never sent", "running", "waiting"]),
    effect=st.booleans(),
    undo=st.booleans(),
    minor=st.integers(1, 500),
)


def nothing() -> None:
    """Nothing needs to know of a change."""


def played(fate: Fate, ledger: Ledger, outside: set[str], final: bool = False, chain: str = "run") -> Entry:
    """Take the step through its fate; `outside` gets its key when it has an effect there."""
    money = Money(minor=fate.minor, currency="EUR")
    status = StepStatus(name=fate.name, amount=money, point_of_no_return=final)
    entry = ledger.register(chain, status, undo=f"undo_{fate.name}" if fate.undo else "")
    key = entry.open_key()
    if fate.held:
        entry.starts()
        entry.held(fate.held == 1, "Held.")
        if fate.held > 1 and fate.effect:
            outside.add(key)
    if fate.end == "waiting":
        return entry
    entry.starts()
    if fate.end == "declined" and key not in outside:  # a gateway says so only when it is true
        entry.did_not_happen("No.")
    elif fate.end == "never sent":
        entry.never_sent("It must not be sent.")
    elif fate.end == "done":
        outside.add(key)
        entry.done({"ok": True})
    else:
        if fate.effect:
            outside.add(key)
        if fate.end != "running":
            entry.failed("It failed, and that says nothing.")
    return entry


def unwound(ledger: Ledger, outside: set[str]) -> list[str]:
    """Undo all that is owed; the keys in that order. What has no undo is settled by an operator."""
    keys = []
    for entry in reversed(ledger.owed()):
        if entry.has_undo:
            entry.undo_starts()
        outside.discard(entry.status.idempotency_key)
        entry.undo.status = StepState.DONE if entry.has_undo else StepState.SETTLED
        keys.append(entry.status.idempotency_key)
    return keys


@settings(deadline=None, max_examples=200)
@given(st.lists(FATES, max_size=8))
def test_what_may_have_happened_is_undone_once_last_first(fates: list[Fate]) -> None:
    ledger, outside = Ledger(nothing), set[str]()
    entries = [played(fate, ledger, outside) for fate in fates]
    keys = [entry.status.idempotency_key for entry in entries]
    assert len(set(keys)) == len(keys)
    possible = [entry for entry in entries if entry.may_have_happened]
    assert outside <= {entry.status.idempotency_key for entry in possible}
    assert sum(money.minor for money in ledger.status().exposure) == sum(
        entry.status.amount.minor for entry in possible if entry.status.amount
    )
    undone = unwound(ledger, outside)
    assert undone == [entry.status.idempotency_key for entry in reversed(possible)]
    assert (outside, ledger.status().exposure) == (set(), [])
    certain = {"declined", "never sent", "waiting"}
    left_alone = [f.held < 2 and f.end in certain for f in fates]
    assert not [key for key, left in zip(keys, left_alone, strict=True) if left and key in undone]


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
@given(st.lists(FATES, max_size=4), st.lists(FATES, max_size=4), st.booleans())
def test_what_a_nested_saga_hands_over_is_undone_as_ones_own(
    own: list[Fate], nested: list[Fate], committed: bool
) -> None:
    outside = set[str]()
    parent, child = Ledger(nothing), Ledger(nothing)
    for fate in own:
        played(fate, parent, outside)
    before = set(outside)
    if committed:
        played(Fate("pivot", 0, "done", True, False, 9), child, outside, final=True, chain="child")
    for fate in nested:
        played(fate, child, outside, chain="child")
    child.go(SagaState.COMPLETED)
    result = SagaResult.model_validate_json(child.result().model_dump_json())
    owed = [entry.status.idempotency_key for entry in child.owed() if entry.has_undo]
    step = parent.register("parent", StepStatus(name="nested", child_workflow_id="w-nested"))
    step.done({})
    parent.take_over(step, result)
    late = played(Fate("charge", 0, "done", True, True, 1), parent, outside)
    assert len({entry.label for entry in parent.entries}) == len(parent.entries)
    undone = unwound(parent, outside)
    assert undone[: len(owed) + 1] == [late.status.idempotency_key, *reversed(owed)]
    assert parent.committed is committed
    assert not committed or before <= outside, "the child's point of no return is the parent's"


def test_what_a_nested_saga_did_for_good_counts_as_exposure_and_is_handed_on() -> None:
    child = Ledger(nothing)
    played(Fate("charge", 0, "done", True, False, 30), child, set(), final=True)
    played(Fate("ship", 0, "done", True, True, 4), child, set())
    child.go(SagaState.COMPLETED)
    parent = Ledger(nothing)
    step = parent.register("parent", StepStatus(name="nested"))
    step.done({})
    parent.take_over(step, child.result())
    assert parent.status().exposure == [Money(minor=34, currency="EUR")]
    parent.go(SagaState.COMPLETED)
    handed = parent.result()
    assert (handed.committed, handed.committed_amounts) == (True, [Money(minor=30, currency="EUR")])
    assert [item.step for item in handed.compensations] == ["ship"]


def test_a_step_that_declares_no_effect_just_fails() -> None:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="look"))
    entry.starts()
    entry.failed("No.")
    assert (entry.status.status, ledger.owed()) == (StepState.FAILED, [])


@pytest.mark.parametrize("final", [True, False])
def test_an_amount_without_an_undo_is_an_operators_to_settle(final: bool) -> None:
    ledger = Ledger(nothing)
    status = StepStatus(
        name="charge",
        amount=None if final else Money(minor=1, currency="EUR"),
        point_of_no_return=final,
    )
    entry = ledger.register("run", status)
    entry.starts()
    entry.failed("Timed out.")
    assert ledger.owed() == [entry]
    assert (entry.undo.name, entry.has_undo) == (OPERATOR, False)


def test_only_a_gateways_word_closes_a_key() -> None:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="charge"), undo="refund")
    for end, key in [
        (entry.failed, "run/charge/1"),
        (entry.never_sent, "run/charge/1"),
        (entry.did_not_happen, "run/charge/1"),
        (entry.failed, "run/charge/1/r2"),
        (entry.did_not_happen, "run/charge/1/r2"),
        (entry.failed, "run/charge/1/r3"),
    ]:
        assert entry.open_key() == entry.status.idempotency_key == key
        entry.starts()
        end("No.")
    assert entry.undo_key == "run/charge/1/r3/undo/1"


def test_what_is_not_sent_again_may_have_happened_the_first_time() -> None:
    entry = Ledger(nothing).register("run", StepStatus(name="charge"), undo="refund")
    entry.starts()
    entry.failed("Timed out.")
    entry.starts()
    entry.never_sent("It must not be sent.")
    assert (entry.status.status, entry.may_have_happened) == (StepState.UNKNOWN, True)


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
    """A compensation that failed for good."""
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="charge"), undo="refund")
    entry.done(None)
    entry.undo_starts()
    entry.undo.status = StepState.STUCK
    return ledger, entry


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (Decision(choice="retry", step="other"), "No step or compensation of that name is stuck."),
        (Decision(choice="burn"), "The choice must be one of retry, skip, settled_outside."),
        (Decision(), "The choice must be one of"),
        (Decision(choice="skip"), "To choose skip, give the evidence for it."),
        (Decision(choice="settled_outside", evidence=" "), "give the evidence for it."),
        (Decision(choice="retry", input={"iban": "x"}), "refund may have happened with the old input."),
    ],
)
def test_a_decision_that_settles_nothing_is_refused_with_a_sentence(decision: Decision, said: str) -> None:
    ledger, entry = stuck()
    outcome, detail, _ = ledger.resolve(decision)
    assert outcome is Outcome.REFUSED
    assert said in detail
    assert (entry.choice, entry.undo_key) == ("", "run/charge/1/undo/1")


@pytest.mark.parametrize("step", ["", "charge", "refund"])
def test_a_retry_as_it_is_keeps_its_key(step: str) -> None:
    ledger, entry = stuck()
    assert ledger.resolve(Decision(choice="retry", step=step))[0] is Outcome.APPLIED
    assert entry.undo_key == "run/charge/1/undo/1"


def test_an_edited_input_gets_a_key_of_its_own_and_a_second_decision_is_refused() -> None:
    ledger, entry = stuck()
    edited = Decision(choice="retry", input={"iban": "x"}, evidence="The bank knows of no refund.")
    assert ledger.resolve(edited)[0] is Outcome.APPLIED
    assert (entry.undo_key, entry.undo_edited, entry.edited) == ("run/charge/1/undo/2", {"iban": "x"}, None)
    assert ledger.resolve(Decision(choice="retry"))[0] is Outcome.REFUSED


def test_a_compensation_that_no_code_knows_is_settled_and_not_retried() -> None:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="nested", child_workflow_id="w"))
    entry.starts()
    entry.lost("It was terminated.")
    entry.undo.status = StepState.STUCK
    assert ledger.resolve(Decision(choice="retry", evidence="Seen."))[0] is Outcome.REFUSED
    assert ledger.resolve(Decision(choice="skip", evidence="Seen."))[0] is Outcome.APPLIED


def test_a_step_is_tried_again_as_it_is_unless_it_takes_edited_input_and_did_not_happen() -> None:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="mail"), undo="recall")
    entry.starts()
    entry.did_not_happen("No.")
    entry.status.status = StepState.STUCK
    edited = Decision(choice="retry", input={"to": "x"}, evidence="Seen.")
    assert ledger.resolve(edited)[0] is Outcome.REFUSED
    entry.editable, entry.started = True, True
    assert ledger.resolve(edited)[0] is Outcome.REFUSED
    entry.started = False
    assert ledger.resolve(edited)[0] is Outcome.APPLIED
    assert (entry.edited, entry.undo_edited, entry.revision) == ({"to": "x"}, None, 1)


def test_a_nested_saga_that_was_lost_starts_anew_only_with_evidence() -> None:
    ledger = Ledger(nothing)
    entry = ledger.register("run", StepStatus(name="nested", child_workflow_id="w"))
    entry.starts()
    entry.lost("It was terminated.")
    entry.status.status = StepState.STUCK
    assert ledger.resolve(Decision(choice="retry"))[0] is Outcome.REFUSED
    assert ledger.resolve(Decision(choice="retry", evidence="Nothing there."))[0] is Outcome.APPLIED
    assert (entry.may_have_happened, entry.status.compensation) == (False, None)


def test_of_several_that_are_stuck_the_step_must_be_named() -> None:
    ledger, first = stuck()
    second = ledger.register("run", StepStatus(name="ship"), undo="recall")
    second.done(None)
    second.undo_starts()
    second.undo.status = StepState.STUCK
    vague = ledger.resolve(Decision(choice="retry"))
    assert vague[:2] == (Outcome.REFUSED, "Several steps are stuck; name the step.")
    assert ledger.resolve(Decision(choice="retry", step="charge"))[0] is Outcome.APPLIED
    assert (first.choice, second.choice) == ("retry", "")
    assert ledger.resolve(Decision(choice="retry"))[0] is Outcome.APPLIED, "only one is left"


def test_what_an_operator_settled_is_named_in_the_result() -> None:
    ledger, _ = stuck()
    ledger.resolve(Decision(choice="skip", evidence="Seen."))
    assert ledger.result().by_hand == ["charge"]


def test_undos_are_needed_by_name_or_by_all_outside_of_the_group() -> None:
    ledger = Ledger(nothing)
    one = ledger.register("run", StepStatus(name="one", group="g"), undo="x")
    two = ledger.register("run", StepStatus(name="two", group="g"), undo="x")
    three = ledger.register("run", StepStatus(name="three"), undo="x")
    named = ledger.register("run", StepStatus(name="zero"), undo="x", undo_after=frozenset({"two"}))
    assert (one.needs_undone(two), one.needs_undone(three)) == (False, True)
    assert (named.needs_undone(two), named.needs_undone(three)) == (True, False)


def test_changed_is_called_once_for_each_state() -> None:
    seen: list[SagaState] = []
    ledger = Ledger(lambda: seen.append(ledger.state))
    for state in (SagaState.RUNNING, SagaState.STUCK, SagaState.STUCK, SagaState.COMPENSATED):
        ledger.go(state)
    assert seen == [SagaState.STUCK, SagaState.COMPENSATED]
