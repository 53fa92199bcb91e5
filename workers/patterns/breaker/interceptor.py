"""Admission: guarded activities ask the breaker before they call out, and report what they saw.

Every process has a gate for each dependency. It knows the breaker's state of at most a second ago, refreshed
only when calls come, and moves by its own reports at once. When no answer comes, the last state is kept, and
without one calls are admitted: Temporal being slow must not stop the business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.failures import dependency_failed
from workers.patterns.breaker.gate import Gate
from workers.patterns.breaker.names import (
    KEY_HEADER,
    LEASE_HEADER,
    current_key,
    current_lease,
    dependency_of,
    failures_of,
)

STALLED_SECONDS = 2.0  # later than this after its time-out, a running process has reported a call


class BreakerInterceptor(Interceptor):
    """One for a worker process. `client`, set by its plugin, queries and signals the breaker workflows;
    `config_of` finds the settings with which an ended breaker is started again, None: it is not."""

    client: Client

    def __init__(self, config_of: Callable[[str], BreakerConfig | None]) -> None:
        self._config_of = config_of
        self._gates: dict[str, Gate] = {}

    def gate(self, dependency: str) -> Gate:
        if dependency not in self._gates:
            self._gates[dependency] = Gate(self.client, dependency, self._config_of(dependency))
        return self._gates[dependency]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next, self)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Activity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, breakers: BreakerInterceptor) -> None:
        super().__init__(next)
        self._breakers = breakers

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        key = _header(input, KEY_HEADER)
        current_key.set(key)  # each activity runs in a context of its own
        dependency = dependency_of(input.fn, input.args)
        if not dependency:
            return await super().execute_activity(input)
        gate, info = self._breakers.gate(dependency), activity.info()
        given = _header(input, LEASE_HEADER)
        epoch, lease = await gate.admit(
            given, never_sent(info), caller=info.workflow_id or "", held=bool(key or given)
        )
        call = _Call(gate, epoch, lease)
        if info.start_to_close_timeout:
            call.fails_after(info.start_to_close_timeout.total_seconds())
        try:
            result = await super().execute_activity(input)
        except BaseException as error:
            failed = dependency_failed(error, failures_of(input.fn), activity.cancellation_details())
            call.ended(failed=failed, error=str(error) or type(error).__name__)
            raise
        call.ended(failed=False)
        return result


def never_sent(info: activity.Info) -> bool:
    """Is this the very first attempt? Its number proves nothing, as an operator can reset it to 1; the time
    at which it was scheduled does."""
    return info.scheduled_time == info.current_attempt_scheduled_time


class _Call:
    """An admitted call, reported once: by its end, or when its attempt times out. A thread cannot be
    stopped, so a call of a dependency that never answers may have no end. A failure that is seen long after
    the time-out says nothing: it was this process that stood still."""

    def __init__(self, gate: Gate, epoch: int, lease: str) -> None:
        self._gate, self._epoch, self._lease = gate, epoch, lease
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def fails_after(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._timed_out)

    def ended(self, *, failed: bool | None, error: str = "") -> None:
        """`failed` None: it says nothing of the dependency."""
        if self._timer:
            self._timer.cancel()
        if self._over:
            return
        self._over = True
        if failed and self._timer and self._loop.time() > self._timer.when() + STALLED_SECONDS:
            failed = None
        if failed is not None:
            self._gate.record(self._epoch, failed=failed, error=error if failed else "", lease=self._lease)
        elif self._lease:
            self._gate.give_back(self._lease)

    def _timed_out(self) -> None:
        details = activity.cancellation_details()  # the timer runs in the activity's context
        interrupted = details is not None and not details.timed_out
        self.ended(failed=None if interrupted else True, error="No answer within start-to-close.")


def _header(input: ExecuteActivityInput, name: str) -> str:
    payload = input.headers.get(name)
    return PayloadConverter.default.from_payload(payload, str) if payload else ""


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    """Carries the lease of a probe, and the idempotency key of a guarded call, to the activity."""

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        carried = {LEASE_HEADER: current_lease.get(), KEY_HEADER: current_key.get()}
        payloads = {name: PayloadConverter.default.to_payload(text) for name, text in carried.items() if text}
        if payloads:
            input.headers = {**input.headers, **payloads}
        return super().start_activity(input)
