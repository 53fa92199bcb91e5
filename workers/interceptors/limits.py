"""How often activities start, per activity and per tenant, in one process.

A start over the limit waits its turn on the event loop: no thread is taken, and no attempt is used up. The
wait ends well before the activity's own timeouts. Where that is not enough, or too many wait already, the
start fails with a retryable `RateLimited` that says when to come back; but an activity with a limited number
of attempts waits as long as its timeouts let it, because a refusal would cost it one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from workers import counters
from workers.client.tenancy import TENANT_HEADER, header_text

RATE_LIMITED = "RateLimited"
LONGEST_WAIT_SECONDS = 5.0
MOST_WAITING = 16  # they hold slots of the worker, which others need
_SHARE = 0.5  # of a timeout may be spent waiting


class Bucket:
    """A token bucket: `rate` tokens a second, holding those of one second, at least one. Times in seconds."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.size = max(1.0, rate)
        self._tokens = self.size
        self._at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until a token is there for a call that comes now; 0: at once. Takes nothing."""
        return max(0.0, (1.0 - self._filled(now)) / self.rate)

    def take(self, now: float) -> float:
        """Take a token, one that is still to come if need be, and return the seconds until it is there."""
        seconds = self.wait(now)
        self._tokens, self._at = self._filled(now) - 1.0, max(now, self._at)
        return seconds

    def give_back(self) -> None:
        """Return a token that was not used."""
        self._tokens = min(self.size, self._tokens + 1.0)

    def _filled(self, now: float) -> float:
        passed = max(0.0, now - self._at)
        return self.size if passed == float("inf") else min(self.size, self._tokens + passed * self.rate)


class LimitInterceptor(Interceptor):
    """One for a worker process. `rates`: starts a second, by `activity` or `tenant:activity`."""

    def __init__(self, rates: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self.buckets = {name: Bucket(rate) for name, rate in rates.items()}
        self.clock = clock
        self.waiting = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next, self) if self.buckets and not activity.info().is_local else next

    def applying(self, tenant: str | None, name: str) -> list[Bucket]:
        """The buckets that a start needs a token of each."""
        return [self.buckets[key] for key in (name, f"{tenant}:{name}") if key in self.buckets]


class _Activity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, shared: LimitInterceptor) -> None:
        super().__init__(next)
        self._shared = shared

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        buckets = self._shared.applying(header_text(input.headers, TENANT_HEADER), info.activity_type)
        if buckets:
            await self._take_tokens(buckets, info)
        return await super().execute_activity(input)

    async def _take_tokens(self, buckets: list[Bucket], info: activity.Info) -> None:
        shared, now = self._shared, self._shared.clock()
        seconds = max(bucket.wait(now) for bucket in buckets)
        if seconds > longest_wait(info) or (seconds and not few(info) and shared.waiting >= MOST_WAITING):
            counters.count("rate_limit_refusals")
            raise limited(info.activity_type, seconds)
        seconds = max(bucket.take(now) for bucket in buckets)
        if not seconds:
            return
        counters.count("rate_limit_waits")
        shared.waiting += 1
        try:
            await asyncio.sleep(seconds)
        except BaseException:  # cancelled while it waited
            for bucket in buckets:
                bucket.give_back()
            raise
        finally:
            shared.waiting -= 1


def few(info: activity.Info) -> bool:
    """Is the number of attempts limited, so that a refusal would use up one of them?"""
    return bool(info.retry_policy and info.retry_policy.maximum_attempts)


def longest_wait(info: activity.Info) -> float:
    """Seconds that a start may wait."""
    timeouts = [info.start_to_close_timeout, info.heartbeat_timeout, info.schedule_to_close_timeout]
    longest = min((limit.total_seconds() * _SHARE for limit in timeouts if limit), default=float("inf"))
    return longest if few(info) else min(longest, LONGEST_WAIT_SECONDS)


def limited(name: str, seconds: float) -> ApplicationError:
    return ApplicationError(
        f"{name} is over its rate limit.",
        type=RATE_LIMITED,
        next_retry_delay=timedelta(seconds=max(seconds, 0.1)),
        category=ApplicationErrorCategory.BENIGN,
    )
