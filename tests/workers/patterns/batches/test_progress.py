"""The progress of a long process: nothing is counted twice or skipped, each decision applies once."""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts import Decision, Outcome, Signal
from workers.patterns.batches.batches import ItemResult
from workers.patterns.batches.progress import MAX_ERROR, MAX_FAILED_ITEMS, PauseControl, ProgressState
from workers.patterns.decisions import DecisionLog

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def results(indices: range, wrong: Container[int] = ()) -> list[ItemResult]:
    return [ItemResult(index=index, error="no" if index in wrong else "") for index in indices]


@settings(deadline=None, max_examples=100)
@given(
    total=st.integers(0, 400),
    start=st.integers(0, 400),
    size=st.integers(1, 40),
    every=st.integers(1, 90),
    wrong=st.sets(st.integers(0, 400)),
    part=st.integers(0, 90),
)
def test_every_item_once_every_mark_once(total, start, size, every, wrong, part) -> None:
    progress = ProgressState(total=total, first=min(start, total), checkpoint=min(start, total))
    seen: list[int] = []
    checkpoints: list[int] = []
    quarters: list[int] = []
    while batch := progress.next_batch(size, every):
        assert len(batch) <= size
        assert not progress.record(results(range(batch.start + 1, batch.stop + 1)))
        did = batch[: 1 + part % len(batch)]  # an attempt may end before the last item
        assert progress.record(results(did, wrong))
        assert not progress.record(results(did)), "the same results again change nothing"
        seen += did
        progress = ProgressState.model_validate_json(progress.model_dump_json())
        if progress.reach_checkpoint(every):
            checkpoints.append(progress.position)
        assert not progress.reach_checkpoint(every)
        if quarter := progress.reach_quarter():
            quarters.append(quarter)
        assert not progress.reach_quarter()
    first = min(start, total)
    assert seen == list(range(first, total))
    assert progress.over
    assert (progress.done, progress.failed) == (len(set(seen) - wrong), len(set(seen) & wrong))
    assert [item.index for item in progress.failed_items] == sorted(wrong & set(seen))[:MAX_FAILED_ITEMS]
    assert checkpoints == [at for at in range(first + 1, total + 1) if at % every == 0 or at == total]
    assert quarters == sorted(set(quarters))
    assert quarters[-1:] == ([4] if seen else [])
    status = progress.status()
    assert (status.total, status.done + status.failed) == (total - first, total - first)


VERBS = st.sampled_from([Signal.PAUSE, Signal.UNPAUSE, Signal.CANCEL])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(VERBS, st.sampled_from(["ann", "bob", ""])), max_size=12))
def test_decisions_apply_once_and_nothing_follows_a_cancel(decisions) -> None:
    control, log, paused, cancelled = PauseControl(), DecisionLog(), False, False
    for number, (verb, actor) in enumerate(decisions):
        body = {"decision_id": str(number), "actor": actor}
        fits = not cancelled and {"pause": not paused, "unpause": paused, "cancel": True}[verb]
        log.apply(body, NOW, getattr(control, verb.value))
        assert (log.get(str(number)).outcome == Outcome.APPLIED) is fits
        if fits:
            paused, cancelled = verb is Signal.PAUSE, verb is Signal.CANCEL
        before = log.model_copy(deep=True)
        log.apply(body, NOW, getattr(control, verb.value))
        assert (control.paused, control.cancelled, log) == (paused, cancelled, before)
    control.over = True
    assert control.pause(Decision())[0] is Outcome.REFUSED


@pytest.mark.parametrize(
    ("done", "failed", "share", "stops"),
    [(0, 0, 0.5, False), (1, 1, 0.5, False), (1, 2, 0.5, True), (9, 1, 0, True), (0, 9, 1, False)],
)
def test_the_limit_of_failures_is_a_share_of_what_was_handled(done, failed, share, stops) -> None:
    assert ProgressState(total=100, done=done, failed=failed).too_many(share) is stops


def test_a_list_that_ends_early_ends_the_process() -> None:
    progress = ProgressState(total=100)
    progress.record([ItemResult(index=n, error="x" * 1_000 if n == 3 else "") for n in range(10)])
    progress.end_at_position()
    assert (progress.over, progress.status().total, len(progress.failed_items[0].error)) == (
        True,
        10,
        MAX_ERROR,
    )
    assert progress.status(paused=True).failed_items[0].startswith("3: x")
    assert not progress.next_batch(10, 50)
