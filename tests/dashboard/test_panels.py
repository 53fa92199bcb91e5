"""What panels and buttons make of an answer, without a server: pace, exposure, stretches, objections."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dashboard.access import Subject, Viewer
from dashboard.actions import objections
from dashboard.actions.forms import Form
from dashboard.actions.kinds import ACTS, LABELS, Choice
from dashboard.panels import circuit, offered, progress, saga
from dashboard.temporal_api.history import History
from dashboard.temporal_api.run import RunPage
from workers.contracts import (
    ApprovalPolicy,
    ApprovalStatus,
    CircuitStatus,
    Delegation,
    Escalation,
    Forced,
    Money,
    Progress,
    SagaStatus,
    StepStatus,
    Vote,
)

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
RUN = cast(RunPage, SimpleNamespace(pending=[], history=History(), first_run_id=""))


def batch(**more: Any) -> Progress:
    return Progress(**{"total": 100, "done": 18, "failed": 2, "started_at": NOW - 10 * HOUR, **more})


def test_the_pace_is_of_all_that_was_handled_and_tells_the_end():
    bar = progress.draw(batch())
    assert bar.pace == pytest.approx(20 / 600, rel=0.05)
    assert bar.ends
    assert (bar.ends - NOW).total_seconds() == pytest.approx(40 * 3600, rel=0.05)


@pytest.mark.parametrize(
    "more",
    [
        {"started_at": None},
        {"started_at": NOW + HOUR},
        {"done": 0, "failed": 0},
        {"done": 98},
        {"paused": True},
        {"total": 0},
    ],
)
def test_where_nothing_can_be_said_nothing_is(more):
    bar = progress.draw(batch(**more))
    assert (bar.pace, bar.ends) == (None, None)


def test_a_time_without_a_zone_counts_as_utc_and_a_crawl_has_an_end():
    naive = (NOW - 10 * HOUR).replace(tzinfo=None)
    assert progress.draw(batch(started_at=naive)).pace
    assert progress.draw(batch(total=10**12, started_at=NOW - 90 * 24 * HOUR)).ends


def test_exposure_is_a_sum_for_each_currency():
    amounts = [
        Money(minor=100, currency="EUR"),
        Money(minor=5, currency="CHF"),
        Money(minor=50, currency="EUR"),
    ]
    ladder = saga.draw(RUN, SagaStatus(exposure=[*amounts, Money(minor=0, currency="USD")]))
    assert ladder.exposure == {"EUR": 150, "CHF": 5}


def test_steps_of_one_group_stand_together_in_their_order():
    steps = [
        StepStatus(name=name, group=group)
        for name, group in zip("abcde", ["", "x", "x", "", "x"], strict=True)
    ]
    ladder = saga.draw(RUN, SagaStatus(steps=steps))
    found = [(part.group, "".join(rung.step.name for rung in part.rungs)) for part in ladder.stretches]
    assert found == [("", "a"), ("x", "bc"), ("", "d"), ("x", "e")]


def test_a_forced_breaker_is_shown_as_such_with_its_lamp():
    card = circuit.draw(CircuitStatus(state="OPEN", forced=Forced(state="OPEN", by="otto")))
    assert (card.tone, card.word, card.lamp) == ("rest", "Forced open", "stop")


@pytest.mark.parametrize(
    ("status", "percent", "judged"),
    [
        (CircuitStatus(failure_rate=0.5, calls=20, failures=12, minimum_calls=10), 60, True),
        (CircuitStatus(failure_rate=0.5, calls=4, failures=4, minimum_calls=10), 100, False),
        (CircuitStatus(failure_rate=0.5, calls=0, failures=0, minimum_calls=0), 0, True),
        (CircuitStatus(failure_rate=0, calls=9, failures=9), None, None),
    ],
)
def test_the_rate_is_told_beside_what_it_is_judged_by(status, percent, judged):
    rate = circuit.draw(status).rate
    assert (rate.percent, rate.judged) == (percent, judged) if rate else percent is None


ANNA = Viewer("anna", frozenset({"approver"}))
BEN = Viewer("ben", frozenset({"viewer"}))
ADA = Viewer("ada", frozenset({"admin"}))


def question(**more: Any) -> ApprovalStatus:
    policy = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False, delegation=True)
    return ApprovalStatus(requester="cleo", policy=policy, deadline=NOW + HOUR, **more)


LENT = [Delegation(actor="anna", to="ben", at=NOW - HOUR)]


@pytest.mark.parametrize(
    ("viewer", "status", "words"),
    [
        (ANNA, question(), ""),
        (BEN, question(), "This needs the role approver."),
        (Viewer("Cleo ", frozenset({"approver"})), question(), "The requester may not decide."),
        (ANNA, question(votes=[Vote(actor="Anna")]), "You have voted already."),
        (ANNA, question(delegations=LENT), "anna let ben vote instead."),
        (BEN, question(delegations=LENT), ""),
        (BEN, question(escalations=[Escalation(at=NOW - HOUR, roles=["viewer"])]), ""),
        (
            BEN,
            question(escalations=[Escalation(at=NOW + HOUR, roles=["viewer"])]),
            "This needs the role approver.",
        ),
        (BEN, question(escalations=[Escalation(at=(NOW - HOUR).replace(tzinfo=None), roles=["viewer"])]), ""),
    ],
)
def test_a_vote_that_would_be_refused_is_told_so(viewer, status, words):
    assert objections.to_vote(viewer, status) == words


def test_who_may_hand_on_and_who_may_withdraw():
    assert objections.to_delegate(ANNA, question()) == ""
    assert objections.to_delegate(BEN, question()) == "This needs the role approver."
    assert objections.to_delegate(ANNA, question(delegations=LENT)) == "anna let ben vote instead."
    anybody = question().model_copy(update={"policy": ApprovalPolicy(delegation=True)})
    assert "nothing to hand on" in objections.to_delegate(ANNA, anybody)
    for viewer in (Viewer("CLEO", frozenset({"viewer"})), ANNA):
        assert objections.to_withdraw(viewer, question()) == ""
    for viewer in (BEN, ADA):
        assert "(cleo)" in objections.to_withdraw(viewer, question())


@pytest.mark.parametrize(
    ("acts", "hint"),
    [
        (["approve", "reject"], "Needed to reject; kept in the audit log either way."),
        (["approve", "reject", "cancel"], "Needed to reject or cancel; kept in the audit log either way."),
        (["force_open", "release"], "Needed; it is kept in the audit log."),
        (["unpause"], "It is kept in the audit log."),
    ],
)
def test_a_form_says_when_it_needs_a_reason(acts, hint):
    assert Form([Choice(act, LABELS[act]) for act in acts]).hint == hint
    assert set(acts) <= set(ACTS)


def test_a_breaker_of_all_tenants_is_not_operated_by_one(settings):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    shared, signals = Subject("default", "breaker-payments", "r", "default"), {"release"}
    otto = Viewer("otto", frozenset({"operator"}), "acme")

    def why(viewer: Viewer) -> str:
        form = offered.breaker(viewer, shared, signals, [])
        assert form
        return form.acts[0].why

    assert why(otto) == offered.SHARED
    assert "operate breakers" in why(Viewer("vera", frozenset({"viewer"}), "acme"))
    assert why(Viewer("otto", frozenset({"operator"}), "default")) == ""
    assert why(Viewer("root", superuser=True)) == ""
    assert offered.breaker(otto, shared, {"approve"}, []) is None
