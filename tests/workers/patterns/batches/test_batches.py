"""Batches and parallel calls: a result for each, in order, whatever fails, stops or is cancelled."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment

from tests.examples.prices import ASKED, Article, PriceWorkflow, exchange_rate, set_price
from tests.support import eventually
from tests.workers.patterns.batches.batch_workflows import BatchDesk, broken_batch, hang
from workers.patterns.batches.activities import MOVING_ON, batch_activity
from workers.patterns.batches.batches import Batch, BatchResult, ItemResult, batched, complete
from workers.patterns.batches.parallel import Settled, gather
from workers.patterns.breaker.names import UNAVAILABLE
from workers.patterns.cache.activities import forget


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
    assert Settled(value=None).ok


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


def test_each_item_has_its_result_and_a_heartbeat() -> None:
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
    assert [len(beat) for beat in env.beats] == [1, 2, 3, 4]


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
    assert [item["index"] for item in env.beats[-1]] == [0]


def test_between_items_it_leaves_a_worker_that_drains_and_ends_when_cancelled() -> None:
    env = Env()

    @batch_activity("drain")
    def drain(item: str, key: str) -> None:
        env.env.worker_shutdown() if item == "shut" else env.env.cancel()

    with pytest.raises(ApplicationError) as moved:
        env.env.run(drain, Batch(items=["shut", "b"]))
    assert (moved.value.type, moved.value.non_retryable, len(env.beats)) == (MOVING_ON, False, 1)
    env = Env()
    with pytest.raises(CancelledError):
        env.env.run(drain, Batch(items=["cancel", "b"]))
    assert len(env.beats) == 1


def test_a_result_without_json_form_and_a_wrong_signature_are_told() -> None:
    @batch_activity("odd")
    def odd(item: int, key: str) -> object:
        return threading.Lock() if item else {1, 2}

    result = Env().env.run(odd, Batch(items=[0, 1]))
    assert [bool(item.error) for item in result.results] == [False, True]
    with pytest.raises(TypeError, match="idempotency key"):
        batch_activity("wrong")(lambda item: item)


async def test_a_lost_batch_costs_its_own_items_only(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[BatchDesk], activities=[broken_batch]):
        answers = await client.execute_workflow(
            BatchDesk.run, "batches", id=f"desk-{uuid.uuid4().hex}", task_queue=queue
        )
    assert len(answers) == 250
    assert set(answers[100:200]) == {"This batch is lost."}
    assert answers[:3] + answers[200:203] == ["0", "1", "2", "0", "1", "2"]


async def test_a_cancelled_workflow_passes_through_gather(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[BatchDesk], activities=[hang]):
        handle = await client.start_workflow(
            BatchDesk.run, "hang", id=f"desk-{uuid.uuid4().hex}", task_queue=queue
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
