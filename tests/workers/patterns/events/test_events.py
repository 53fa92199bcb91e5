"""Events as a fold: appliers are pure, snapshots change nothing, repeats change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts import Outcome
from workers.patterns.decisions import NO_BODY
from workers.patterns.events.account import ACCOUNT, Account
from workers.patterns.events.fold import Aggregate, Event
from workers.patterns.events.store import (
    KEPT,
    LARGEST_BODY,
    REMEMBERED,
    EventLog,
    EventStore,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def order(event_id: str, order_id: str = "o1", minor: int = 100, **more: Any) -> dict[str, Any]:
    amount = {"minor": minor, "currency": "EUR"}
    return {"event_id": event_id, "order_id": order_id, "amount": amount, **more}


def taken(store: EventStore[Account], type: str, body: object, now: datetime = NOW) -> bool:
    return store.take(type, body, now) is not None


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
        event = plain.take(kind, body, NOW)
        if event:
            before = cut.state.model_dump_json()
            assert ACCOUNT.apply(cut.state, event) == ACCOUNT.apply(cut.state, event)
            assert cut.state.model_dump_json() == before, "an applier changes nothing"
            recorded.append(event)
        cut.take(kind, body, NOW)
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
        store.take(kind, body, NOW)
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


@pytest.mark.parametrize("anything", UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_carried_on_is_refused_at_once(anything: object) -> None:
    store = EventStore(TALK)
    assert store.take("said", {"event_id": "e1", "anything": anything}, NOW) is None
    assert store.verdict("e1").detail == "The body has no JSON form."
    assert store.log().model_dump_json()


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01", 5])
def test_any_time_can_be_compared(at: object) -> None:
    store = EventStore(TALK)
    assert store.take("said", {"event_id": "e1", "at": at}, NOW)
    assert store.verdict("e1").at is not None


def test_a_refused_event_may_be_sent_again_when_its_time_has_come() -> None:
    store = EventStore(ACCOUNT)
    assert not taken(store, "process_payment", order("pay"))
    assert store.verdict("pay").outcome == Outcome.REFUSED
    assert "No order o1" in store.verdict("pay").detail
    assert taken(store, "place_order", order("new"))
    assert taken(store, "process_payment", order("pay"))
    assert store.verdict("pay").outcome == Outcome.APPLIED
    assert (store.state.settled, store.state.paid) == (1, {"EUR": 100})


def test_a_body_too_large_to_be_carried_is_refused() -> None:
    store = EventStore(TALK)
    assert store.take("said", {"event_id": "e1", "anything": "x" * LARGEST_BODY}, NOW) is None
    assert "characters" in store.verdict("e1").detail
    assert store.take("said", {"event_id": "e1", "anything": "x"}, NOW)


def test_events_that_await_effects_push_back_before_they_outgrow_one_payload() -> None:
    store = EventStore(TALK)
    body = "x" * (LARGEST_BODY - 200)
    for number in range(80):
        store.take("said", {"event_id": f"e{number}", "anything": body}, NOW, effect=lambda event: True)
    assert len(store.log().model_dump_json()) < 1_500_000
    assert "later" in store.verdict("e79").detail
    store.settle(store.pending[0])
    assert store.take("said", {"event_id": "e79"}, NOW, effect=lambda event: True)


def test_a_forgotten_repeat_is_refused_by_its_age_and_a_newer_event_is_not() -> None:
    class Counted(Account):
        count: int = 0

    counting = Aggregate(Counted)
    counting.on("tick", Event)(lambda state, event: state.model_copy(update={"count": state.count + 1}))
    store = EventStore(counting)
    for number in range(REMEMBERED + 5):
        at = NOW + timedelta(seconds=number)
        assert store.take("tick", {"event_id": f"e{number}", "at": at.isoformat()}, at)
    late = NOW + timedelta(days=1)
    carried = EventLog.model_validate_json(store.log().model_dump_json())
    assert len(carried.model_dump_json()) < 100_000
    again = EventStore(counting, carried)
    assert again.take("tick", {"event_id": "e2", "at": NOW + timedelta(seconds=2)}, late) is None
    assert "may be a repeat" in again.verdict("e2").detail
    assert again.take("tick", {"event_id": "new", "at": NOW + timedelta(seconds=500)}, late)
    assert again.state.count == REMEMBERED + 6


def test_the_future_is_clamped_and_effects_are_told() -> None:
    store = EventStore(ACCOUNT)
    event = store.take(
        "place_order",
        order("e1", at=(NOW + timedelta(days=9)).isoformat()),
        NOW,
        effect=lambda event: True,
    )
    assert event is not None
    assert event.at == NOW
    assert "under way" in store.verdict("e1").detail
    store.settle(event, "Not with us.", NOW)
    store.settle(event, "again", NOW)
    assert "Not with us" in store.verdict("e1").detail
    assert (store.pending, len(store.view()["failed_effects"])) == ([], 1)
    assert store.verdict("").outcome == store.verdict("other").outcome == Outcome.UNKNOWN


def test_refusals_are_counted_and_the_newest_kept() -> None:
    store = EventStore(ACCOUNT)
    for _ in range(KEPT + 5):
        store.take("place_order", None, NOW)
    assert (store.view()["refusals"], len(store.view()["refused"])) == (KEPT + 5, KEPT)


def test_an_event_has_one_applier() -> None:
    once = Aggregate(Account)
    once.on("tick", Event)(lambda state, event: state)
    with pytest.raises(ValueError, match="already"):
        once.on("tick", Event)
