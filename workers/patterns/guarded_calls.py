"""GuardedCalls: how a workflow calls a guarded activity, and waits while its breaker is open.

It is woken by the breaker's `resume`, with a lease when it is to be the probe, or by its own timer: a lost
wake-up costs a delay, never the workflow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from workers.client.attributes import WAITING_FOR
from workers.contracts import Resume, WaitingFor
from workers.patterns.breaker.names import CIRCUIT_OPEN, current_lease
from workers.patterns.decisions import read
from workers.patterns.search_attributes import upsert_changed

MOST_DOUBLINGS = 4
KEPT = timedelta(seconds=60)
KEEPS_A_RESUME = "holds-keep-a-resume"


class GuardedCalls:
    """`retry_seconds`: the first own timer; it doubles up to 16 times that, as tries cost history events.

    `changed` is called when `dependency` is another; by default WaitingFor says it.
    """

    def __init__(self, retry_seconds: float, changed: Callable[[], None] | None = None) -> None:
        self.dependency = ""
        self._retry_seconds = retry_seconds
        self._changed = changed or self._show
        self._tries = 0
        self._woken = False
        self._lease = ""
        self._early: tuple[Resume, datetime] | None = None

    def resume(self, raw: object) -> None:
        """The body of the signal `resume`. One that comes during a try is kept for a minute, for its refusal:
        that try may have begun before the breaker changed, and a lease must not get lost."""
        body = read(raw, Resume)
        if body is None:
            return
        if self.dependency and body.dependency in ("", self.dependency):
            self._woken, self._lease = True, body.lease or self._lease
        elif body.dependency and not self.dependency:
            self._early = (body, workflow.now())

    async def call(self, activity: Any, *args: Any, **options: Any) -> Any:
        """As `workflow.execute_activity`, again after each refusal by a breaker. Other failures pass."""
        lease = ""
        while True:
            token = current_lease.set(lease)
            try:
                running = workflow.start_activity(activity, args=args, **options)
            finally:
                current_lease.reset(token)
            try:
                return await running
            except ActivityError as error:
                dependency = refused_by(error)
                if not dependency:
                    raise
            lease = await self.wait(dependency)

    async def wait(self, dependency: str) -> str:
        """Wait until the next try. Returns the lease of the probe, or "". Cancellation passes through."""
        early, self._early = self._early, None
        fits = early and early[0].dependency == dependency and workflow.now() - early[1] < KEPT
        if early and fits and workflow.patched(KEEPS_A_RESUME):
            return early[0].lease or ""
        self.dependency, self._woken, self._lease = dependency, False, ""
        self._changed()
        seconds = self._retry_seconds * 2 ** min(self._tries, MOST_DOUBLINGS)
        seconds *= 0.75 + workflow.random().random() / 2  # all held at once must not come back at once
        try:
            await workflow.wait_condition(
                lambda: self._woken, timeout=seconds, timeout_summary=f"try {dependency} again"
            )
            self._tries = 0
        except TimeoutError:
            self._tries += 1
        except asyncio.CancelledError:
            self._go_on()
            raise
        self._go_on()
        return self._lease

    def _go_on(self) -> None:
        # Never in a `finally`: that also runs when a worker drops the workflow from its cache, outside of it.
        self.dependency = ""
        self._changed()

    def _show(self) -> None:
        upsert_changed(
            {WAITING_FOR: f"{WaitingFor.BREAKER.value}{self.dependency}" if self.dependency else None}
        )


def refused_by(error: ActivityError) -> str:
    """The dependency whose breaker refused that call, or ""."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == CIRCUIT_OPEN and cause.details:
        return str(cause.details[0])
    return ""
