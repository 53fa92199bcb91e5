"""Decisions exactly once."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.common import RawValue

from workers.contracts import Decision, Outcome
from workers.patterns.decisions import CAPACITY, NO_BODY, DecisionLog, lenient_signal

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_known_id_is_not_taken_again() -> None:
    book = DecisionLog()
    decision = book.accept({"decision_id": "d1", "actor": " ann "}, NOW)
    assert decision is not None
    assert (decision.actor, decision.at) == ("ann", NOW)
    book.record(decision, Outcome.APPLIED, "Approved.", NOW)
    assert book.accept({"decision_id": "d1", "actor": "bob"}, NOW) is None
    assert book.get("d1").by == "ann"


@pytest.mark.parametrize(
    "body", ["text", 3, ["x"], {"at": "never"}, {"roles": "approver"}, {"decision_id": 7}]
)
def test_what_is_no_decision_is_recorded_as_refused(body: object) -> None:
    book = DecisionLog()
    assert book.accept(body, NOW) is None
    assert book.get("unnamed-1").outcome == Outcome.REFUSED


@pytest.mark.parametrize("field", ["decision_id", "actor", "reason", "evidence"])
def test_oversized_text_is_refused_and_not_kept(field: str) -> None:
    book = DecisionLog()
    assert book.accept({"decision_id": "d1", field: "x" * 5_000}, NOW) is None
    known = "unnamed-1" if field == "decision_id" else "d1"
    assert book.get(known).outcome == Outcome.REFUSED
    assert len(book.model_dump_json()) < 1_000


def test_a_body_that_is_missing_gets_a_name() -> None:
    book = DecisionLog()
    first, second = book.accept(NO_BODY, NOW), book.accept(None, NOW)
    assert first is not None
    assert second is not None
    assert (first.decision_id, second.decision_id) == ("unnamed-1", "unnamed-2")


def test_the_future_is_clamped_and_a_naive_time_is_utc() -> None:
    book = DecisionLog()
    later = book.accept({"decision_id": "a", "at": (NOW + timedelta(hours=1)).isoformat()}, NOW)
    naive = book.accept({"decision_id": "b", "at": "2026-01-02T03:00:00"}, NOW)
    assert later is not None
    assert naive is not None
    assert (later.at, naive.at) == (NOW, datetime(2026, 1, 2, 3, tzinfo=UTC))


def test_forgets_the_oldest_and_survives_json() -> None:
    book = DecisionLog()
    for number in range(CAPACITY + 1):
        book.record(Decision(decision_id=str(number)), Outcome.APPLIED, "", NOW)
    again = DecisionLog.model_validate_json(book.model_dump_json())
    assert again.get("0").outcome == Outcome.UNKNOWN
    assert again.get("1").outcome == Outcome.APPLIED


def test_a_tolerant_handler_keeps_the_signature_that_the_sdk_reads() -> None:
    heard: list[object] = []

    class Desk:
        @lenient_signal
        def approve(self, raw: RawValue = NO_BODY) -> None:
            heard.append(raw)

    assert list(inspect.signature(Desk.approve).parameters) == ["self", "raw"]
    Desk().approve()
    Desk().approve("one", "two")
    assert heard == [NO_BODY, "one"]


def test_too_many_or_too_long_roles_are_refused() -> None:
    book = DecisionLog()
    assert book.accept({"decision_id": "many", "roles": ["r"] * 51}, NOW) is None
    assert book.accept({"decision_id": "long", "roles": ["r" * 201]}, NOW) is None
    assert book.accept({"decision_id": "to", "to": "t" * 201}, NOW) is None
    assert {book.get(name).outcome for name in ("many", "long", "to")} == {Outcome.REFUSED}


def test_a_decision_for_another_chain_is_refused() -> None:
    book = DecisionLog(chain="first-run")
    assert book.accept({"decision_id": "theirs", "chain": "other-run"}, NOW) is None
    assert "another run" in book.get("theirs").detail
    assert book.accept({"decision_id": "ours", "chain": "first-run"}, NOW) is not None
    assert book.accept({"decision_id": "bare"}, NOW) is not None


def test_an_id_belongs_to_the_person_and_the_signal_that_brought_it_first() -> None:
    class Orders:
        book = DecisionLog()

        @lenient_signal
        def approve(self, raw: RawValue = NO_BODY) -> None:
            self.book.apply(raw, NOW, lambda decision: (Outcome.APPLIED, "Approved.", ""))

        @lenient_signal
        def cancel(self, raw: RawValue = NO_BODY) -> None:
            self.book.apply(raw, NOW, lambda decision: (Outcome.APPLIED, "Cancelled.", ""))

    orders = Orders()
    orders.approve({"decision_id": "d1", "actor": "ann"})
    orders.cancel({"decision_id": "d1", "actor": "bob"})
    verdict = orders.book.get("d1")
    assert (verdict.actor, verdict.signal, verdict.detail) == ("ann", "approve", "Approved.")


def test_a_pending_verdict_keeps_its_signal_when_the_final_one_follows() -> None:
    book = DecisionLog()

    class Breaker:
        @lenient_signal
        def probe(self, raw: RawValue = NO_BODY) -> None:
            decision = book.accept(raw, NOW)
            assert decision is not None
            book.record(decision, Outcome.PENDING, "Looking.", NOW)

    Breaker().probe({"decision_id": "d1", "actor": "ann"})
    book.record(Decision(decision_id="d1", actor="ann"), Outcome.APPLIED, "It probes.", NOW)
    assert (book.get("d1").signal, book.get("d1").outcome) == ("probe", Outcome.APPLIED)


def test_a_log_of_an_earlier_version_is_still_read() -> None:
    old = '{"verdicts": {"d1": {"decision_id": "d1", "outcome": "applied", "by": "ann"}}, "unnamed": 2}'
    assert DecisionLog.model_validate_json(old).get("d1").by == "ann"


def test_where_no_person_decided_none_is_named() -> None:
    book = DecisionLog()
    late = Decision(decision_id="d1", actor="ann")
    assert book.record(late, Outcome.ALREADY_DECIDED, "Already expired.", NOW).by == ""
    assert book.record(late, Outcome.ALREADY_DECIDED, "Already approved.", NOW, "bob").by == "bob"
    assert book.record(late, Outcome.REFUSED, "No.", NOW).by == "ann"
