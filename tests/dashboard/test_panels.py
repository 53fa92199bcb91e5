"""What panels make of an answer, without a server: pace, exposure, groups, rates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.template.loader import render_to_string

from dashboard.panels import approval, circuit, progress, saga, timeline
from dashboard.temporal_api.history import EventLine, History, Span
from dashboard.temporal_api.run import RunPage
from workers.contracts import (
    ApprovalPolicy,
    ApprovalStatus,
    CircuitStatus,
    Forced,
    Money,
    Progress,
    SagaStatus,
    StepStatus,
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
    drawn = saga.draw(RUN, SagaStatus(exposure=[*amounts, Money(minor=0, currency="USD")]))
    assert drawn.exposure == {"EUR": 150, "CHF": 5}


def test_steps_of_one_group_stand_together_in_their_order():
    steps = [
        StepStatus(name=name, group=group)
        for name, group in zip("abcde", ["", "x", "x", "", "x"], strict=True)
    ]
    drawn = saga.draw(RUN, SagaStatus(steps=steps))
    found = [(part.name, "".join(row.step.name for row in part.rows)) for part in drawn.groups]
    assert found == [("", "a"), ("x", "bc"), ("", "d"), ("x", "e")]


def test_a_forced_breaker_is_shown_as_such_with_its_lamp():
    card = circuit.draw(CircuitStatus(state="OPEN", forced=Forced(state="OPEN", by="otto")))
    assert (card.tone, card.word, card.lamp) == ("rest", "Forced open", "stop")


@pytest.mark.parametrize(
    ("status", "percent", "applies"),
    [
        (CircuitStatus(failure_rate=0.5, calls=20, failures=12, minimum_calls=10), 60, True),
        (CircuitStatus(failure_rate=0.5, calls=4, failures=4, minimum_calls=10), 100, False),
        (CircuitStatus(failure_rate=0.5, calls=0, failures=0, minimum_calls=0), 0, True),
        (CircuitStatus(failure_rate=0, calls=9, failures=9), None, None),
    ],
)
def test_the_rate_applies_from_the_minimum_of_calls_on(status, percent, applies):
    rate = circuit.draw(status).rate
    assert (rate.percent, rate.applies) == (percent, applies) if rate else percent is None


def test_a_completed_saga_has_no_exposure():
    assert (
        saga.draw(RUN, SagaStatus(state="completed", exposure=[Money(minor=100, currency="EUR")])).exposure
        == {}
    )


def test_an_approval_that_is_not_needed_is_no_panel():
    assert approval.draw(ApprovalStatus(state="not_needed"), None) is None
    drawn = approval.draw(ApprovalStatus(policy=ApprovalPolicy(quorum=2, roles=["finance", "board"])), None)
    assert drawn
    assert drawn.rule == "Requires 2 votes with the role finance or board."


def test_the_timeline_counts_what_it_does_not_draw():
    spans = [Span(f"step {at}", "activity", NOW - HOUR, NOW) for at in range(45)]
    cuts = [EventLine(at, "Signal received", "go", NOW) for at in range(43)]
    row = SimpleNamespace(start_time=NOW - HOUR, close_time=NOW)
    run = SimpleNamespace(row=row, history=History(spans=spans, cuts=cuts, unread=415))
    drawn = timeline.draw(cast(RunPage, run))
    assert drawn
    assert (len(drawn.bars), drawn.left_out, drawn.cuts_left_out, drawn.unread) == (40, 5, 3, 415)
    context = {"timeline": drawn, "run": run, "snapshot": SimpleNamespace(at=NOW)}
    text = render_to_string("dashboard/panels/timeline.html", context)
    assert "5 earlier bars are not drawn. 415 older events were not read" in text
    assert "3 earlier lines are not drawn." in text


def test_failed_items_that_are_not_listed_are_counted():
    drawn = progress.draw(batch(failed=45, failed_items=[str(at) for at in range(30)]))
    assert (len(drawn.failed), drawn.failed_left_out) == (20, 25)


def test_attempts_are_those_of_every_run_of_the_step():
    """A breaker that holds a step has the saga run it again, as another activity of the same name."""
    spans = [
        Span("book_freight", "activity", NOW - HOUR, NOW, attempt=attempt, activity_id=activity_id)
        for activity_id, attempt in [("book", 4), ("bookkeeping", 9), ("book#2", 1), ("book#3", 1)]
    ]
    run = SimpleNamespace(pending=[], history=History(spans=spans), first_run_id="")
    status = SagaStatus(steps=[StepStatus(name="book", status="done", activity_id="book#3")])

    def word() -> str:
        return saga.draw(cast(RunPage, run), status).groups[0].rows[0].step.word

    assert word() == "done, 6 attempts"
    run.history.unread = 20
    assert word() == "done, at least 6 attempts"
    run.pending = [SimpleNamespace(activity_id="book#3", attempt=2, maximum=8, next_at=None, failure="")]
    assert word() == "done, attempt 2 of 8 after 5 earlier ones"
