"""GuardedCalls: how a workflow calls guarded activities, and waits while a breaker is open.

A breaker's refusal is neither a result nor a failure: the call waits and is made again, until the dependency
answers. A wait ends by the breaker's signal `resume`, or by the workflow's own timer: a lost signal costs a
delay, never the workflow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from workers.client.attributes import WAITING_FOR
from workers.contracts import CIRCUIT_OPEN, Resume, WaitingFor
from workers.patterns.breaker.names import current_key, current_lease
from workers.patterns.decisions import read
from workers.patterns.search_attributes import upsert_changed

MAX_DOUBLINGS = 4
EARLY_RESUME_TTL = timedelta(seconds=60)


def refused_at(error: FailureError) -> tuple[str, bool]:
    """The dependency whose breaker refused, and whether no attempt of that activity was ever let through;
    ("", False): it was no refusal."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == CIRCUIT_OPEN and len(cause.details) == 2:
        return str(cause.details[0]), cause.details[1] is True
    return "", False


@dataclass
class _Hold:
    """The calls that wait for one dependency, in the order in which they came, and their common timer."""

    timer: asyncio.Task[None]
    waiters: list[asyncio.Future[str]] = field(default_factory=list)


class GuardedCalls:
    """All guarded calls of one workflow; they may run side by side, behind any number of breakers.

    retry_seconds: until the first own retry; doubled by each that is refused again, up to 16 times that, as
        each retry costs history events. Varied by a quarter, so that all that is held does not come at once.
    changed: called when `held` changes; by default `waiting_for()` is upserted as WaitingFor.
    """

    def __init__(self, retry_seconds: float, changed: Callable[[], None] | None = None) -> None:
        self._retry_seconds = retry_seconds
        self._changed = changed or (lambda: upsert_changed({WAITING_FOR: self.waiting_for()}))
        self._holds: dict[str, _Hold] = {}
        self._retries: dict[str, int] = {}
        self._early: dict[str, tuple[str, datetime]] = {}

    @property
    def held(self) -> list[str]:
        """The dependencies that calls wait for, in alphabetical order."""
        return sorted(self._holds)

    def waiting_for(self) -> list[str]:
        """The values of WaitingFor for `held`: `breaker`, and `breaker:<dependency>` for each."""
        return WaitingFor.at_breakers(self.held)

    async def call(
        self,
        activity: Any,
        *args: Any,
        idempotency_key: str = "",
        lock: asyncio.Lock | None = None,
        **options: Any,
    ) -> Any:
        """As `workflow.execute_activity`, again after each refusal by a breaker. Other failures pass.

        idempotency_key: of all its tries, which `call_http` sends; default: a new UUID.
        lock: held during each try, not while it waits for a breaker.
        """
        key, lease = idempotency_key or str(workflow.uuid4()), ""
        while True:
            try:
                async with lock or contextlib.nullcontext():
                    return await self.start(activity, *args, idempotency_key=key, lease=lease, **options)
            except ActivityError as error:
                dependency, _ = refused_at(error)
                if not dependency:
                    raise
            lease = await self.wait(dependency)

    @staticmethod
    def start(
        activity: Any, *args: Any, idempotency_key: str = "", lease: str = "", **options: Any
    ) -> workflow.ActivityHandle[Any]:
        """One try, for callers that look at each refusal themselves (`refused_at`, then `wait`).

        As `workflow.start_activity`, with the lease that `wait` returned and the key of the whole call. An
        activity started without these is retried by the server after a refusal, and its workflow not held.
        """
        key = idempotency_key or str(workflow.uuid4())
        key_token, lease_token = current_key.set(key), current_lease.set(lease)
        try:
            return workflow.start_activity(activity, args=args, **options)
        finally:
            current_lease.reset(lease_token)
            current_key.reset(key_token)

    async def wait(self, dependency: str) -> str:
        """Wait until the next try. Returns the lease of the breaker's probe, or "". Raises CancelledError."""
        lease, at = self._early.pop(dependency, ("", None))
        if at is not None and workflow.now() - at < EARLY_RESUME_TTL:
            return lease
        hold = self._holds.get(dependency)
        if hold is None:
            hold = _Hold(asyncio.create_task(self._retry_later(dependency)))
            self._holds[dependency] = hold
            self._changed()
        woken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        hold.waiters.append(woken)
        try:
            return await woken
        except asyncio.CancelledError:
            # Not in a `finally`: that also runs, outside of the workflow, when its worker drops it.
            self._give_up(dependency, hold, woken)
            raise

    def resume(self, raw: object) -> None:
        """The body of the signal `resume`: all calls that wait for its dependency are made again; with a
        lease only the first of them, as the breaker refuses calls beside its probe.

        When none waits for it, it is kept for a minute for the next refusal: a call under way may have been
        refused by what the breaker was before, and a lease must not get lost.
        """
        body = read(raw, Resume)
        if body is None:
            return
        for dependency in [body.dependency] if body.dependency else self.held:
            if dependency in self._holds:
                self._retries.pop(dependency, None)
                self._wake(dependency, body.lease or "")
            else:
                self._keep(dependency, body.lease or "")

    def _keep(self, dependency: str, lease: str) -> None:
        now = workflow.now()
        fresh = {name: kept for name, kept in self._early.items() if now - kept[1] < EARLY_RESUME_TTL}
        self._early = {**fresh, dependency: (lease or fresh.get(dependency, ("", now))[0], now)}

    def _wake(self, dependency: str, lease: str) -> None:
        hold = self._holds[dependency]
        waiting = [woken for woken in hold.waiters if not woken.done()]
        for woken in waiting[:1] if lease else waiting:
            woken.set_result(lease)
            hold.waiters.remove(woken)
        self._end_if_empty(dependency, hold)

    def _give_up(self, dependency: str, hold: _Hold, woken: asyncio.Future[str]) -> None:
        """A waiting call was cancelled. A lease that it got in the same workflow task goes to the next."""
        lease = "" if woken.cancelled() else woken.result()
        if woken in hold.waiters:
            hold.waiters.remove(woken)
            self._end_if_empty(dependency, hold)
        elif lease and dependency in self._holds:
            self._wake(dependency, lease)

    def _end_if_empty(self, dependency: str, hold: _Hold) -> None:
        if not hold.waiters and dependency in self._holds:
            del self._holds[dependency]
            hold.timer.cancel()
            self._changed()

    async def _retry_later(self, dependency: str) -> None:
        retries = self._retries.get(dependency, 0)
        seconds = self._retry_seconds * 2 ** min(retries, MAX_DOUBLINGS)
        seconds *= 0.75 + workflow.random().random() / 2
        await workflow.sleep(seconds, summary=f"try {dependency} again")
        self._retries[dependency] = retries + 1
        self._wake(dependency, "")
