"""Events as a fold: appliers are pure, snapshots change nothing, repeats change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts import Decision, Outcome
from workers.patterns.decisions import NO_BODY
from workers.patterns.events.account import ACCOUNT, Account
from workers.patterns.events.fold import Aggregate, Event, Recorded
from workers.patterns.events.store import (
    FORGOTTEN_AT_ONCE,
    MAX_BODY,
    MAX_REFUSALS,
    MAX_STUCK,
    REMEMBERED,
    SHOWN,
    EventLog,
    EventStore,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def order(event_id: str, order_id: str = "o1", minor: int = 100, **more: Any) -> dict[str, Any]:
    amount = {"minor": minor, "currency": "EUR"}
    return {"event_id": event_id, "at": NOW.isoformat(), "order_id": order_id, "amount": amount, **more}


def taken(store: EventStore[Account], type: str, body: object, now: datetime = NOW) -> bool:
    return store.accept(type, body, now) is not None


BODIES = st.builds(
    order,
    st.integers(0, 30).map(lambda number: f"e{number}"),
    st.sampled_from(["o1", "o2", "o3"]),
    st.integers(-1, 120),
)
EVENTS = st.lists(st.tuples(st.sampled_from(["place_order", "process_payment"]), BODIES), max_size=40)


@settings(deadline=None, max_examples=80)
@given(EVENTS, st.lists(st.integers(0, 39), max_size=4))
def test_the_state_does_not_depend_on_where_snapshots_were_taken(events, snapshots) -> None:
    plain, cut = EventStore(ACCOUNT), EventStore(ACCOUNT)
    recorded = []
    for number, (kind, body) in enumerate(events):
        event = plain.accept(kind, body, NOW)
        if event:
            before = cut.state.model_dump_json()
            assert ACCOUNT.apply(cut.state, event) == ACCOUNT.apply(cut.state, event)
            assert cut.state.model_dump_json() == before, "an applier changes nothing"
            recorded.append(event)
        cut.accept(kind, body, NOW)
        if number in snapshots:
            cut = EventStore(ACCOUNT, EventLog.model_validate_json(cut.log().model_dump_json()))
    assert cut.state == plain.state == ACCOUNT.replay(Account(), recorded)
    assert cut.version == plain.version == len(recorded)


@settings(deadline=None, max_examples=80)
@given(EVENTS)
def test_sending_everything_again_changes_nothing(events) -> None:
    store = EventStore(ACCOUNT)
    accepted = [(kind, body) for kind, body in events if taken(store, kind, body)]
    state, version, pending = store.state, store.version, [*store.pending]
    assert [again for again in accepted if taken(store, *again)] == []
    assert (store.state, store.version, store.pending) == (state, version, pending)


@settings(deadline=None, max_examples=80)
@given(EVENTS)
def test_an_account_never_holds_more_than_was_paid_for(events) -> None:
    store = EventStore(ACCOUNT)
    for kind, body in events:
        store.accept(kind, body, NOW)
    assert all(0 <= item.paid < item.minor for item in store.state.open_orders.values())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (NO_BODY, "event_id"),
        (None, "event_id"),
        ("text", "event_id"),
        ([1], "event_id"),
        ({"event_id": 7}, "event_id"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 201}, "event_id"),
        ({"event_id": "e1", "order_id": "o1"}, "amount"),
        (order("e1", minor=0), "amount.minor"),
        (order("e1", at="never"), "at"),
        ({key: value for key, value in order("e1").items() if key != "at"}, "at: Field required"),
        (order("e1", at=(NOW + timedelta(minutes=6)).isoformat()), "in the future"),
    ],
)
def test_what_is_no_event_is_refused_and_says_why(body: object, said: str) -> None:
    store = EventStore(ACCOUNT)
    assert not taken(store, "place_order", body)
    view = store.view()
    assert (view["refusals"], view["version"]) == (1, 0)
    assert said in view["refused"][0]["detail"]


class Said(Event):
    anything: Any = None


TALK = Aggregate(Account)
TALK.on("said", Said)(lambda state, event: state)


UNFIT = {"bytes": b"\xff", "object": object(), "half a character": "\ud800"}


def said(event_id: str, anything: object = None, at: object = NOW) -> dict[str, Any]:
    return {"event_id": event_id, "at": at, "anything": anything}


def talk(store: EventStore[Account], body: object, now: datetime = NOW) -> Recorded | None:
    """Accept an event that an effect follows."""
    return store.accept("said", body, now, effect=lambda event: True)


@pytest.mark.parametrize("anything", UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_carried_on_is_refused_at_once(anything: object) -> None:
    store = EventStore(TALK)
    assert talk(store, said("e1", anything)) is None
    assert store.verdict("e1").detail == "The body has no JSON form."
    assert store.log().model_dump_json()


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "2026-01-01", 5])
def test_any_time_can_be_compared(at: object) -> None:
    store = EventStore(TALK)
    assert talk(store, said("e1", at=at))
    assert store.verdict("e1").at is not None


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", (NOW + timedelta(minutes=6)).isoformat()])
def test_an_event_of_the_future_is_refused(at: str) -> None:
    """Were it accepted, its repeat could not be told by its time from a new event."""
    store = EventStore(TALK)
    assert talk(store, said("e1", at=at)) is None
    assert "in the future" in store.verdict("e1").detail


def test_a_refused_event_may_be_sent_again_when_its_time_has_come() -> None:
    store = EventStore(ACCOUNT)
    assert not taken(store, "process_payment", order("pay"))
    assert store.verdict("pay").outcome == Outcome.REFUSED
    assert "No order o1" in store.verdict("pay").detail
    assert taken(store, "place_order", order("new"))
    assert taken(store, "process_payment", order("pay"))
    assert store.verdict("pay").outcome == Outcome.APPLIED
    assert (store.state.paid_in_full, store.state.paid) == (1, {"EUR": 100})


@pytest.mark.parametrize("letter", ["x", "ü", "\U0001f642"])
def test_a_body_too_large_to_be_carried_is_refused(letter: str) -> None:
    store = EventStore(TALK)
    many = MAX_BODY // len(letter.encode())
    assert talk(store, said("e1", letter * many)) is None
    assert "bytes" in store.verdict("e1").detail
    assert talk(store, said("e1", letter * (many // 2)))
    assert talk(store, said(letter * 201)) is None


def test_events_that_await_effects_push_back_before_they_outgrow_one_payload() -> None:
    store = EventStore(TALK)
    body = "\U0001f642" * ((MAX_BODY - 400) // 4)
    for number in range(80):
        talk(store, said(f"e{number}", body))
    assert store.full
    assert len(store.log().model_dump_json().encode()) < 1_000_000
    assert "later" in store.verdict("e79").detail
    assert store.accept("said", said("no-effect"), NOW), "what has no effect takes no room"
    store.effect_done(store.pending[0].event_id)
    assert talk(store, said("e79"))


def test_each_sender_hears_of_a_refusal_while_many_are_refused() -> None:
    store = EventStore(ACCOUNT)
    for number in range(MAX_REFUSALS + 5):
        store.accept("process_payment", order(f"e{number}"), NOW)
    asked = [store.verdict(f"e{number}").outcome for number in range(MAX_REFUSALS + 5)]
    assert asked == [Outcome.UNKNOWN] * 5 + [Outcome.REFUSED] * MAX_REFUSALS
    assert (store.view()["refusals"], len(store.view()["refused"])) == (MAX_REFUSALS + 5, SHOWN)


class Counted(Account):
    count: int = 0


COUNTED = Aggregate(Counted)
COUNTED.on("tick", Event)(lambda state, event: state.model_copy(update={"count": state.count + 1}))


def tick(number: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "at": NOW + timedelta(seconds=number), **more}


def test_a_forgotten_repeat_is_refused_by_its_age_and_a_newer_event_is_not() -> None:
    store, many = EventStore(COUNTED), REMEMBERED + FORGOTTEN_AT_ONCE + 5
    for number in range(many):
        assert store.accept("tick", tick(number), NOW + timedelta(days=1))
    carried = EventLog.model_validate_json(store.log().model_dump_json())
    assert len(carried.model_dump_json()) < 100_000
    again = EventStore(COUNTED, carried)
    late = NOW + timedelta(days=1)
    for number in range(many):
        assert again.accept("tick", tick(number), late) is None
    assert (again.state.count, "may be a repeat" in again.verdict("e2").detail) == (many, True)
    assert again.accept("tick", {"event_id": "new", "at": NOW + timedelta(seconds=500)}, late)
    assert again.state.count == many + 1


def test_a_repeat_from_a_sender_whose_clock_is_fast_is_not_counted_twice() -> None:
    """The time that was sent is compared, the same in every repeat, not the time that was recorded."""
    store, ahead = EventStore(COUNTED), timedelta(minutes=4)
    for number in range(REMEMBERED + FORGOTTEN_AT_ONCE + 5):
        body = tick(number)
        assert store.accept("tick", {**body, "at": body["at"] + ahead}, body["at"])
    assert store.accept("tick", {**tick(0), "at": NOW + ahead}, NOW + timedelta(days=1)) is None
    assert "may be a repeat" in store.verdict("e0").detail


def test_the_ids_of_the_oldest_events_are_forgotten_first_in_whatever_order_they_came() -> None:
    store, late = EventStore(COUNTED), NOW + timedelta(days=1)
    for number in reversed(range(REMEMBERED + FORGOTTEN_AT_ONCE)):
        assert store.accept("tick", tick(number), late)
    assert store.accept("tick", tick(FORGOTTEN_AT_ONCE, event_id="between"), late)
    assert store.accept("tick", tick(FORGOTTEN_AT_ONCE - 1, event_id="before"), late) is None


def test_a_clock_a_little_ahead_is_clamped() -> None:
    store = EventStore(TALK)
    event = talk(store, said("e1", at=(NOW + timedelta(minutes=4)).isoformat()))
    assert event is not None
    assert event.at == NOW
    assert "under way" in store.verdict("e1").detail
    assert store.verdict("").outcome == store.verdict("other").outcome == Outcome.UNKNOWN


def decision(choice: str, step: str = "e1", **more: Any) -> Decision:
    return Decision(actor="ann", choice=choice, step=step, evidence="seen in the ledger", **more)


def failed_store() -> EventStore[Account]:
    store = EventStore(TALK)
    event = talk(store, said("e1"))
    assert event is not None
    store.effect_failed(event, "Not with us.", NOW)
    return store


@pytest.mark.parametrize("choice", ["skip", "settled_outside"])
def test_an_operator_settles_a_failed_effect_once(choice: str) -> None:
    store = failed_store()
    assert "waits for an operator: Not with us." in store.verdict("e1").detail
    assert [event.event_id for event in store.pending] == ["e1"]
    assert store.resolve(decision(choice))[0] == Outcome.APPLIED
    assert store.resolve(decision("retry")) == (
        Outcome.ALREADY_DECIDED,
        f"{store_said(choice)} already.",
        "ann",
    )
    assert (store.pending, store.waiting_for_operator(), [*store.runnable()]) == ([], [], [])
    assert "by ann: Not with us." in store.verdict("e1").detail
    assert [failed.event_id for failed in store.given_up()] == (["e1"] if choice == "skip" else [])


def store_said(choice: str) -> str:
    return f"The effect of e1: {'skipped' if choice == 'skip' else 'settled outside'}"


def test_a_retried_effect_may_fail_again() -> None:
    store = failed_store()
    assert [*store.runnable()] == []
    assert store.resolve(decision("retry", step=""))[0] == Outcome.APPLIED
    assert store.resolve(decision("skip"))[0] == Outcome.ALREADY_DECIDED
    (event,) = store.runnable()
    assert "under way" in store.verdict("e1").detail
    assert store.effect_failed(event, "Still not.", NOW).times == 2
    carried = EventStore(TALK, EventLog.model_validate_json(store.log().model_dump_json()))
    assert carried.resolve(decision("retry"))[0] == Outcome.APPLIED
    carried.effect_done("e1")
    assert (carried.verdict("e1").detail, carried.pending) == ("Recorded.", [])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (decision("skip", step="e9"), "No effect of that event"),
        (decision("forget"), "must be one of"),
        (decision("retry", input={"sum": 3}), "cannot be changed"),
        (Decision(actor="ann", choice="skip", step="e1"), "what shows that it is right"),
    ],
)
def test_a_decision_that_settles_nothing_is_refused_and_says_why(wrong: Decision, why: str) -> None:
    store = failed_store()
    outcome, detail, _ = store.resolve(wrong)
    assert (outcome, why in detail, len(store.waiting_for_operator())) == (Outcome.REFUSED, True, 1)


def test_a_failed_effect_holds_only_those_with_its_ordering_key() -> None:
    store = EventStore(ACCOUNT)
    for number, order_id in enumerate(["o1", "o2", "o1", "o3"]):
        kind = "process_payment" if number == 2 else "place_order"
        store.accept(
            kind, order(f"e{number}", order_id, 10 if number == 2 else 100), NOW, effect=lambda e: True
        )
    assert [event.event_id for event in store.runnable()] == ["e0", "e1", "e3"], "the order of an order"
    store.effect_failed(next(store.runnable()), "no", NOW)
    assert [event.event_id for event in store.runnable()] == ["e1", "e3"]
    store.resolve(decision("skip", "e0"))
    assert [event.event_id for event in store.runnable()] == ["e1", "e2", "e3"]


def test_after_a_hundred_failed_effects_no_further_one_is_tried_and_the_latest_decided_are_kept() -> None:
    store = EventStore(TALK)
    for number in range(MAX_STUCK + 5):
        event = talk(store, said(f"e{number}"))
        assert event is not None
        if number < MAX_STUCK:
            store.effect_failed(event, "x" * 10_000, NOW)
    assert [*store.runnable()] == []
    assert len(store.log().model_dump_json()) < 200_000
    store.resolve(decision("skip", "e3"))
    assert len([*store.runnable()]) == 5
    for number in range(MAX_STUCK):
        store.resolve(decision("skip", f"e{number}"))
    assert [failed.event_id for failed in store.given_up()] == [
        f"e{n}" for n in range(MAX_STUCK - SHOWN, MAX_STUCK)
    ]


def test_an_effect_that_may_fail_is_given_up() -> None:
    store = EventStore(TALK)
    event = talk(store, said("e1"))
    assert event is not None
    store.effect_failed(event, "Not with us.", NOW, best_effort=True)
    assert (store.pending, len(store.given_up()), store.waiting_for_operator()) == ([], 1, [])
    assert "not tried again: Not with us." in store.verdict("e1").detail


def test_an_event_has_one_applier_and_is_ordered_by_a_field_that_it_has() -> None:
    once = Aggregate(Account)
    once.on("tick", Event)(lambda state, event: state)
    with pytest.raises(ValueError, match="already"):
        once.on("tick", Event)
    with pytest.raises(ValueError, match="no field order_id"):
        once.on("tock", Event, ordered_by="order_id")
