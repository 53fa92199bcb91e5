"""Rate limits: the bucket never gives more than its rate, and waiting costs neither threads nor attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ExecuteActivityInput

from tests.workers.interceptors.test_interceptors import Innermost
from workers.client import tenancy
from workers.interceptors.limits import MOST_WAITING, RATE_LIMITED, Bucket, LimitInterceptor

RATES = st.floats(0.1, 1000)
GAPS = st.lists(st.floats(0, 3), min_size=1, max_size=60)
EPSILON = 1e-6


@settings(max_examples=100, deadline=None)
@given(RATES, GAPS)
def test_no_span_of_time_sees_more_starts_than_the_rate_and_one_burst(rate, gaps):
    bucket, now, starts = Bucket(rate), 0.0, list[float]()
    for gap in gaps:
        now += gap
        starts.append(now + bucket.take(now))
    assert starts == sorted(starts)  # who asks first starts first
    for first, begun in enumerate(starts):
        for last in range(first, len(starts)):
            span = starts[last] - begun
            assert last - first + 1 <= bucket.size + rate * span + EPSILON * (last + 1) * max(rate, 1) + 1e-3


@settings(max_examples=100, deadline=None)
@given(RATES, GAPS)
def test_asking_takes_nothing_and_a_token_given_back_is_there_again(rate, gaps):
    bucket, now = Bucket(rate), 0.0
    for gap in gaps:
        now += gap
        told = bucket.wait(now)
        assert bucket.wait(now) == pytest.approx(told)
        bucket.take(now)
        bucket.give_back()
        assert bucket.wait(now) == pytest.approx(told, abs=EPSILON)
        bucket.take(now)


@settings(max_examples=50, deadline=None)
@given(RATES, st.integers(1, 50))
def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away(rate, asked):
    bucket = Bucket(rate)
    waits = [bucket.take(100.0 - number) for number in range(asked)]
    assert sum(wait == 0 for wait in waits) <= bucket.size + EPSILON


class Clock:
    """Stands still until told; whoever sleeps by asyncio really sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def environment(attempts: int = 0, *, seconds: float = 60, name: str = "unknown") -> ActivityEnvironment:
    made = ActivityEnvironment()
    told = {
        "activity_type": name,
        "start_to_close_timeout": timedelta(seconds=seconds),
        "schedule_to_close_timeout": None,
        "heartbeat_timeout": None,
        "retry_policy": RetryPolicy(maximum_attempts=attempts),
    }
    made.info = type(made.info)(**{**vars(made.info), **told})
    return made


def attempt(limits: LimitInterceptor, env: ActivityEnvironment, tenant: str = "acme") -> asyncio.Task[object]:
    headers = tenancy.encoded({tenancy.TENANT_HEADER: tenant})

    async def call() -> object:
        made = limits.intercept_activity(Innermost())
        return await made.execute_activity(
            ExecuteActivityInput(fn=lambda: "done", args=[], executor=None, headers=headers)
        )

    return asyncio.ensure_future(env.run(call))


async def test_over_the_limit_the_start_waits_on_the_loop():
    limits = LimitInterceptor({"unknown": 10.0}, clock=Clock())
    tasks = [attempt(limits, environment()) for _ in range(12)]
    assert await asyncio.gather(*tasks) == ["done"] * 12
    assert limits.waiting == 0


async def test_a_wait_that_is_too_long_is_a_retryable_refusal_that_says_when():
    limits = LimitInterceptor({"unknown": 0.1}, clock=Clock())
    assert await attempt(limits, environment()) == "done"
    with pytest.raises(ApplicationError) as caught:
        await attempt(limits, environment())
    error = caught.value
    assert (error.type, error.non_retryable, error.next_retry_delay) == (
        RATE_LIMITED,
        False,
        timedelta(seconds=10),
    )
    # A refusal takes no token, so the next one is not told to wait longer.
    with pytest.raises(ApplicationError) as again:
        await attempt(limits, environment())
    assert again.value.next_retry_delay == error.next_retry_delay


async def test_an_activity_with_few_attempts_waits_rather_than_lose_one():
    limits = LimitInterceptor({"unknown": 0.1}, clock=Clock())
    await attempt(limits, environment())
    waits = attempt(limits, environment(attempts=3))
    await until(lambda: limits.waiting == 1)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert limits.waiting == 0
    assert limits.buckets["unknown"].wait(0.0) == pytest.approx(10)  # its token was given back
    with pytest.raises(ApplicationError, match="rate limit"):  # it would time out while it waits
        await attempt(limits, environment(attempts=3, seconds=5))


async def test_only_some_wait_as_they_hold_slots():
    limits = LimitInterceptor({"unknown": 1.0}, clock=Clock())
    limits.waiting = MOST_WAITING
    await attempt(limits, environment())
    with pytest.raises(ApplicationError, match="rate limit"):
        await attempt(limits, environment())


async def test_tenants_have_limits_of_their_own():
    limits = LimitInterceptor({"acme:unknown": 0.1}, clock=Clock())
    assert await attempt(limits, environment(), "acme") == "done"
    assert await attempt(limits, environment(), "globex") == "done"
    assert await attempt(limits, environment(), "globex") == "done"
    with pytest.raises(ApplicationError):
        await attempt(limits, environment(), "acme")
    assert await attempt(limits, environment(name="other"), "acme") == "done"


def test_without_limits_nothing_stands_in_between():
    inner = Innermost()
    assert LimitInterceptor({}).intercept_activity(inner) is inner


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)
