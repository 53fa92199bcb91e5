"""Admission: guarded activities ask the breaker before they call out, and report what they saw.

Every process has a gate for each dependency. It knows the breaker's state of at most a second ago, refreshed
only when calls come, and moves by its own reports at once. When no answer comes, the last state is kept, and
without one calls are admitted: Temporal being slow must not stop the business.
"""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError
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

from workers.patterns.breaker.gate import Gate
from workers.patterns.breaker.names import (
    KEY_HEADER,
    LEASE_HEADER,
    UNAVAILABLE,
    current_key,
    current_lease,
    dependency_of,
)


class BreakerInterceptor(Interceptor):
    """One for a worker process. `client`, set by its plugin, asks and tells the breaker workflows."""

    client: Client

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def gate(self, dependency: str) -> Gate:
        if dependency not in self._gates:
            self._gates[dependency] = Gate(self.client, dependency)
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
        current_key.set(_header(input, KEY_HEADER))  # each activity runs in a context of its own
        dependency = dependency_of(input.fn, input.args)
        if not dependency:
            return await super().execute_activity(input)
        lease = _header(input, LEASE_HEADER)
        gate = self._breakers.gate(dependency)
        epoch, probing = await gate.admit(lease, attempt_of(activity.info()))
        try:
            result = await super().execute_activity(input)
        except (ApplicationError, TimeoutError, ConnectionError) as error:
            failed = not isinstance(error, ApplicationError) or error.type == UNAVAILABLE
            gate.note(epoch, failed=failed, error=str(error), lease=lease if probing else "")
            raise
        except BaseException:  # a bug, or a cancellation: neither says anything of the dependency
            if probing:
                gate.give_back(lease)
            raise
        gate.note(epoch, lease=lease if probing else "")
        return result


def attempt_of(info: activity.Info) -> int:
    """The number of this attempt; 1 for the very first one alone.

    An operator's reset sets the server's number back to 1, but not the time of the first attempt.
    """
    first = info.scheduled_time == info.current_attempt_scheduled_time
    return info.attempt if first else max(2, info.attempt)


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
