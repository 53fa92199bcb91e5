"""The books of a long process: nothing is counted twice, skipped, or told twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts import Outcome, Signal
from workers.patterns.batches.controls import Desk
from workers.patterns.batches.progress import KEPT, LONGEST, ProgressState
from workers.patterns.decisions import DecisionLog

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@settings(deadline=None, max_examples=100)
@given(
    total=st.integers(0, 400),
    start=st.integers(0, 400),
    size=st.integers(1, 40),
    every=st.integers(1, 90),
    wrong=st.sets(st.integers(0, 400)),
)
def test_every_item_once_every_mark_once(total, start, size, every, wrong) -> None:
    book = ProgressState(total=total, first=min(start, total), checkpoint=min(start, total))
    seen: list[int] = []
    checkpoints: list[int] = []
    quarters: list[int] = []
    while batch := book.next_batch(size, every):
        assert len(batch) <= size
        assert not book.record(range(batch.start + 1, batch.stop + 1), {})
        assert book.record(batch, dict.fromkeys(wrong, "no"))
        assert not book.record(batch, {}), "the same batch again changes nothing"
        seen += batch
        book = ProgressState.model_validate_json(book.model_dump_json())
        if book.reach_checkpoint(every):
            checkpoints.append(book.position)
        assert not book.reach_checkpoint(every)
        if quarter := book.reach_quarter():
            quarters.append(quarter)
        assert not book.reach_quarter()
    first = min(start, total)
    assert seen == list(range(first, total))
    assert book.over
    assert (book.done, book.failed) == (len(set(seen) - wrong), len(set(seen) & wrong))
    assert [item.index for item in book.failed_items] == sorted(wrong & set(seen))[:KEPT]
    assert checkpoints == [at for at in range(first + 1, total + 1) if at % every == 0 or at == total]
    assert quarters == sorted(set(quarters))
    assert quarters[-1:] == ([4] if seen else [])
    status = book.status()
    assert (status.total, status.done + status.failed) == (total - first, total - first)


VERBS = st.sampled_from([Signal.PAUSE, Signal.UNPAUSE, Signal.CANCEL])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(VERBS, st.sampled_from(["ann", "bob", ""])), max_size=12))
def test_decisions_apply_once_and_nothing_follows_a_cancel(acts) -> None:
    desk, paused, cancelled = Desk(DecisionLog(), None, None), False, False
    for number, (verb, actor) in enumerate(acts):
        body = {"decision_id": str(number), "actor": actor}
        fits = not cancelled and {"pause": not paused, "unpause": paused, "cancel": True}[verb]
        desk.hear(verb, body, NOW)
        assert (desk.book.get(str(number)).outcome == Outcome.APPLIED) is fits
        if fits:
            paused, cancelled = verb is Signal.PAUSE, verb is Signal.CANCEL
        before = desk.book.model_copy(deep=True)
        desk.hear(verb, body, NOW)
        assert (desk.paused, desk.cancelled, desk.book) == (paused, cancelled, before)
    desk.over = True
    desk.hear(Signal.PAUSE, {"decision_id": "late"}, NOW)
    assert desk.book.get("late").outcome == Outcome.REFUSED


@pytest.mark.parametrize(
    ("done", "failed", "share", "stops"),
    [(0, 0, 0.5, False), (1, 1, 0.5, False), (1, 2, 0.5, True), (9, 1, 0, True), (0, 9, 1, False)],
)
def test_the_limit_of_failures_is_a_share_of_what_was_handled(done, failed, share, stops) -> None:
    assert ProgressState(total=100, done=done, failed=failed).too_many(share) is stops


def test_a_list_that_ends_early_ends_the_process() -> None:
    book = ProgressState(total=100)
    book.record(range(10), {3: "x" * 1_000})
    book.end_at_position()
    assert (book.over, book.status().total, len(book.failed_items[0].error)) == (True, 10, LONGEST)
    assert book.status(paused=True).failed_items[0].startswith("3: x")
    assert not book.next_batch(10, 50)
