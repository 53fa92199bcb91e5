"""Batches and parallel calls: a result for each, in order, whatever fails, stops or is cancelled."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import uuid
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TimeoutError,  # noqa: A004 (Temporal's own)
    TimeoutType,
)
from temporalio.testing import ActivityEnvironment

from tests.examples.prices import ASKED, Article, PriceWorkflow, exchange_rate, set_price
from tests.support import eventually
from tests.workers.patterns.batches.batch_workflows import BatchRunner, broken_batch, hang, secretive, verbose
from tests.workers.patterns.batches.row_imports import Rows
from workers.patterns.batches.activities import MAX_VALUE, batch_activity
from workers.patterns.batches.batches import (
    WORKER_SHUTDOWN,
    Attempt,
    Attempts,
    Batch,
    BatchResult,
    ItemResult,
    attempt_batch,
    batched,
    complete,
)
from workers.patterns.batches.parallel import CallResult, gather
from workers.patterns.breaker.names import UNAVAILABLE
from workers.patterns.cache import forget
from workers.patterns.guarded_calls import GuardedCalls


@given(st.lists(st.integers(), max_size=250), st.integers(1, 120))
@settings(deadline=None, max_examples=60)
def test_batches_hold_every_item_once_at_its_index(items, size) -> None:
    made = batched(items, key="k", size=size)
    assert [item for batch in made for item in batch.items] == items
    assert all(items[batch.first : batch.first + len(batch.items)] == batch.items for batch in made)
    assert all(len(batch.items) == size for batch in made[:-1])


def test_an_item_that_nobody_speaks_of_has_failed() -> None:
    batch = Batch(first=10, items=["a", "b", "c"])
    answer = BatchResult(results=[ItemResult(index=11, value=1), ItemResult(index=99, value=2)])
    results = complete(batch, answer).results
    assert [(item.index, item.error) for item in results] == [
        (10, "No result."),
        (11, ""),
        (12, "No result."),
    ]
    assert [item.error for item in complete(batch, None, "Away.").results] == ["Away."] * 3
    with pytest.raises(ValueError, match="at least one"):
        batched([1], key="k", size=0)


async def test_gather_keeps_order_failures_and_its_limit() -> None:
    running, most = 0, 0

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01 * (3 - number % 3))
        running -= 1
        if number % 4 == 0:
            raise ValueError(str(number))
        return number

    ends = await gather([partial(call, n) for n in range(9)], limit=3)
    assert [end.value if end.ok else str(end.error) for end in ends] == ["0", 1, 2, 3, "4", 5, 6, 7, "8"]
    assert most == 3
    assert (ends[1].get(), await gather([])) == (1, [])
    with pytest.raises(ValueError, match="4"):
        ends[4].get()
    assert CallResult(value=None).ok


async def test_a_cancelled_gather_waits_for_its_calls_and_passes_on() -> None:
    begun: list[int] = []
    tidied: list[int] = []

    async def call(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            tidied.append(number)
            if number == 0:
                raise RuntimeError("while tidying up") from None
            raise

    task = asyncio.create_task(gather([partial(call, n) for n in range(3)], limit=2))
    await eventually(lambda: len(begun) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (begun, sorted(tidied)) == ([0, 1], [0, 1])


class Env:
    """A batch activity run without a server, with the details of an earlier heartbeat."""

    def __init__(self, **info: Any) -> None:
        self.env = ActivityEnvironment()
        self.env.info = dataclasses.replace(ActivityEnvironment.default_info(), **info)
        self.beats: list[Any] = []
        self.env.on_heartbeat = lambda *details: self.beats.append(details[0])


def test_each_item_has_its_result() -> None:
    @batch_activity("halve")
    def halve(number: int, key: str) -> str:
        if number % 2:
            raise ApplicationError("It is odd.", type="Odd")
        return f"{key}={number // 2}"

    env = Env()
    result = env.env.run(halve, Batch(key="k", first=5, items=[2, 3, "x", 8]))
    assert [(item.index, item.value) for item in result.results if not item.error] == [
        (5, "k/5=1"),
        (8, "k/8=4"),
    ]
    assert [item.error[:14] for item in result.failed] == ["Odd: It is odd", "Unreadable: it"]
    assert not result.more


async def test_it_goes_on_after_the_last_heartbeat_and_stops_at_an_outage() -> None:
    seen: list[str] = []

    @batch_activity("note")
    async def note(item: str, key: str) -> None:
        seen.append(key)
        if item == "away":
            raise ApplicationError("Away.", type=UNAVAILABLE)

    env = Env(heartbeat_details=[[{"index": 0}, {"index": 1, "error": "No."}]])
    with pytest.raises(ApplicationError, match="Away"):
        await env.env.run(note, Batch(key="k", items=["a", "b", "c", "away", "e"]))
    assert seen == ["k/2", "k/3"]
    assert [item["error"] for item in env.beats[-1]] == ["", "No.", ""]


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_long_item_does_not_look_like_a_dead_worker(asynchronous: bool) -> None:
    env = Env(heartbeat_timeout=timedelta(seconds=0.1))

    async def wait(item: int, key: str) -> None:
        await eventually(lambda: len(env.beats) > 2)

    def wait_in_thread(item: int, key: str) -> None:
        asyncio.run(wait(item, key))

    made = batch_activity("wait")(wait if asynchronous else wait_in_thread)
    if asynchronous:
        result = await env.env.run(made, Batch(items=[1]))
    else:
        result = await asyncio.to_thread(env.env.run, made, Batch(items=[1]))
    assert (len(result.results), env.beats[:2]) == (1, [[], []])


async def test_heartbeats_come_by_time_and_not_with_each_item() -> None:
    """Each holds all results so far, so one with each item would cost the square of them."""

    @batch_activity("square")
    async def square(number: int, key: str) -> int:
        if number == 1_999:
            await eventually(lambda: len(env.beats) > 2, every=0.001)
        return number**2

    env = Env(heartbeat_timeout=timedelta(seconds=1.5))
    result = await env.env.run(square, Batch(items=list(range(2_000))))
    assert (len(result.results), len(env.beats) < 20) == (2_000, True)
    assert len(env.beats[-1]) == 1_999
    later = Env(heartbeat_details=[env.beats[-1]])
    again = await later.env.run(square, Batch(items=list(range(2_000))))
    assert [item.value for item in again.results] == [number**2 for number in range(2_000)]


class Thing:
    """No JSON form."""


def test_values_that_cannot_be_sent_cost_their_own_item_only() -> None:
    values = {0: 1, 1: Thing(), 2: "x" * (MAX_VALUE + 1), 3: 2}

    @batch_activity("values")
    def make(number: int, key: str) -> object:
        if number == 4:
            raise ValueError("half \ud800 a character")
        return values[number]

    result = Env().env.run(make, Batch(items=[*values, 4]))
    assert [bool(item.error) for item in result.results] == [False, True, True, False, True]
    assert all(item.error.startswith("Done, but its value cannot be returned") for item in result.failed[:2])
    assert result.model_dump_json()


def test_an_attempt_ends_when_its_results_grow_large() -> None:
    @batch_activity("large")
    def large(number: int, key: str) -> str:
        return "x" * 90_000

    result = Env().env.run(large, Batch(items=list(range(10))))
    assert (len(result.results), result.more) == (3, True)


def refusal(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "failed", scheduled_event_id=1, started_event_id=2, identity="", activity_type="a", activity_id="1",
        retry_state=None,
    )  # fmt: skip
    error.__cause__ = cause
    return error


def timed_out(details: list[Any]) -> TimeoutError:
    return TimeoutError("late", type=TimeoutType.HEARTBEAT, last_heartbeat_details=details)


DONE = [{"index": 10, "value": "a"}, {"index": 11, "error": "no"}]


@pytest.mark.parametrize(
    ("cause", "known", "transient", "final"),
    [
        (timed_out([DONE]), [10, 11], False, False),
        (timed_out([]), [], False, False),
        (timed_out([{"page": 3}]), [], False, False),
        (timed_out([[*DONE[:1], {"index": 17}]]), [10], False, False),
        (ApplicationError("Away.", DONE, type=UNAVAILABLE), [10, 11], True, False),
        (ApplicationError("Moving.", DONE[:1], type=WORKER_SHUTDOWN), [10], True, False),
        (ApplicationError("A bug."), [], False, False),
        (ApplicationError("Never.", non_retryable=True), [], False, True),
    ],
)
async def test_what_an_attempt_did_is_known_whatever_ended_it(
    cause: BaseException, known: list[int], transient: bool, final: bool
) -> None:
    calls = mock.Mock(spec=GuardedCalls, call=mock.AsyncMock(side_effect=refusal(cause)))
    batch = Batch(first=10, items=["a", "b", "c"])
    attempt = await attempt_batch(calls, "rows", batch, seconds=1, heartbeat_seconds=1)
    assert [result.index for result in attempt.results] == known
    assert (attempt.transient, attempt.final, bool(attempt.error)) == (transient, final, True)


def test_attempts_are_counted_while_they_do_nothing() -> None:
    attempts = Attempts(limit=3, retry_seconds=30)
    nothing, outage = Attempt(error="no"), Attempt(error="away", transient=True)
    some = Attempt([ItemResult(index=0)], "no")
    assert [attempts.wait_after(nothing), attempts.wait_after(nothing), attempts.used_up] == [1, 2, False]
    assert [attempts.wait_after(outage) for _ in range(7)] == [30, 60, 120, 240, 480, 480, 480]
    assert (attempts.wait_after(some), attempts.failed) == (0, 0)
    for used_up in (False, False, True):
        attempts.wait_after(nothing)
        assert attempts.used_up is used_up
    endless = Attempts(limit=0, retry_seconds=1)
    assert max(endless.wait_after(nothing) for _ in range(100)) == 60
    assert not endless.used_up
    endless.wait_after(Attempt(error="never", final=True))
    assert endless.used_up


def test_between_items_it_leaves_a_worker_that_drains_and_ends_when_cancelled() -> None:
    env = Env()

    @batch_activity("drain")
    def drain(item: str, key: str) -> None:
        env.env.worker_shutdown() if item == "shut" else env.env.cancel()

    with pytest.raises(ApplicationError) as moved:
        env.env.run(drain, Batch(items=["shut", "b"]))
    assert (moved.value.type, moved.value.non_retryable, len(env.beats[-1])) == (WORKER_SHUTDOWN, False, 1)
    assert moved.value.details == (env.beats[-1],)
    env = Env()
    with pytest.raises(CancelledError):
        env.env.run(drain, Batch(items=["cancel", "b"]))
    assert len(env.beats[-1]) == 1


def test_a_result_without_json_form_and_a_wrong_signature_are_told() -> None:
    @batch_activity("odd")
    def odd(item: int, key: str) -> object:
        return threading.Lock() if item else {1, 2}

    result = Env().env.run(odd, Batch(items=[0, 1]))
    assert [bool(item.error) for item in result.results] == [False, True]
    with pytest.raises(TypeError, match="idempotency key"):
        batch_activity("wrong")(lambda item: item)


async def test_a_lost_batch_costs_its_own_items_only(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[BatchRunner], activities=[broken_batch]):
        answers = await client.execute_workflow(
            BatchRunner.run, "batches", id=f"batches-{uuid.uuid4().hex}", task_queue=queue
        )
    assert len(answers) == 250
    assert set(answers[100:200]) == {"This batch is lost."}
    assert answers[:3] + answers[200:203] == ["0", "1", "2", "0", "1", "2"]


async def run_batches(client: Client, queue: str, how: str) -> list[str]:
    answers: list[str] = await client.execute_workflow(
        BatchRunner.run, how, id=f"batches-{uuid.uuid4().hex}", task_queue=queue
    )
    return answers


async def test_a_batch_goes_on_from_the_item_at_which_an_outage_or_a_breaker_stopped_it(
    client: Client, queue: str, worker: Any
) -> None:
    rows = Rows()
    rows.troubles = {3: "away", 7: "refused", 12: "away"}
    async with worker(queue, workflows=[BatchRunner], activities=rows.activities()):
        answers = await run_batches(client, queue, "rows")
    assert answers == ["None"] * 20
    assert {key[-2:].strip("/"): times for key, times in rows.begun.items() if times > 1} == {
        "3": 2,
        "7": 2,
        "12": 2,
    }
    assert set(rows.done.values()) == {1}


async def test_a_value_that_no_worker_may_send_fails_its_own_item_only(
    client: Client, queue: str, worker: Any
) -> None:
    async with worker(queue, workflows=[BatchRunner], activities=[secretive]):
        answers = await run_batches(client, queue, "secrets")
    assert [answer[:40] for answer in answers] == ["0", "Done, but its value cannot be returned: ", "2"]


async def test_results_that_together_are_too_large_for_one_attempt_all_come(
    client: Client, queue: str, worker: Any
) -> None:
    async with worker(queue, workflows=[BatchRunner], activities=[verbose]):
        answers = await run_batches(client, queue, "large")
    assert [(answer[0], len(answer)) for answer in answers] == [(str(n), 90_000) for n in range(8)]


async def test_a_cancelled_workflow_passes_through_gather(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[BatchRunner], activities=[hang]):
        handle = await client.start_workflow(
            BatchRunner.run, "hang", id=f"batches-{uuid.uuid4().hex}", task_queue=queue
        )

        async def two_hang() -> bool:
            return len((await handle.describe()).raw_description.pending_activities) == 2

        await eventually(two_hang)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, CancelledError)


@pytest.mark.django_db(transaction=True)  # the cache lies there
async def test_the_example_prices_many_articles(client: Client, queue: str, worker: Any) -> None:
    for currency in ("CHF", "USD", "XXX"):
        await asyncio.to_thread(forget, exchange_rate, currency)
    ASKED.clear()
    articles = [Article(number=n, cents=1_000, currency=("EUR", "CHF", "USD")[n % 3]) for n in range(230)]
    articles.append(Article(number=999, cents=5, currency="XXX"))
    async with worker(queue, workflows=[PriceWorkflow], activities=[set_price, exchange_rate]):
        for _ in range(2):
            priced = await client.execute_workflow(
                PriceWorkflow.run, articles, id=f"prices-{uuid.uuid4().hex}", task_queue=queue
            )
    assert (len(priced.cents), priced.failed) == (230, {999: "No rate."})
    assert (priced.cents[0], priced.cents[1], priced.cents[2]) == (1_000, 900, 1_100)
    assert ASKED == {"CHF": 1, "USD": 1, "XXX": 1}, "the second run found all in the cache"
