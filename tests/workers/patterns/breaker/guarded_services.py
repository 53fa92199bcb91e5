"""What tests of breakers need: a guarded service of their own, callers that it holds, what to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from tests.support import eventually

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import WAITING_FOR
    from workers.contracts import CircuitStatus, Decision, Verdict, WaitingFor
    from workers.patterns.breaker.activities import find_held, offer_probe, release_held
    from workers.patterns.breaker.config import Report
    from workers.patterns.breaker.messages import BreakerState
    from workers.patterns.breaker.names import UNAVAILABLE, WORKFLOW_TYPE, breaker_id, current_key, guarded
    from workers.patterns.breaker.workflow import BreakerWorkflow
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.guarded_calls import GuardedCalls

REACHES = [find_held, offer_probe, release_held]


@workflow.defn
class HeldCaller:
    """Calls a guarded activity; its own timer is so long that only the breaker can wake it in a test."""

    def __init__(self) -> None:
        self.holds = GuardedCalls(3_600)

    @workflow.run
    async def run(self, name: str) -> str:
        return str(
            await self.holds.call(
                name,
                workflow.info().workflow_id,
                start_to_close_timeout=timedelta(seconds=30),
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=0.2)),
            )
        )

    @workflow.signal
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.holds.resume(raw)


@workflow.defn
class PlainCaller:
    """Calls a guarded activity as any workflow does, which knows nothing of breakers."""

    @workflow.run
    async def run(self, name: str, seconds: float = 30) -> str:
        result: str = await workflow.execute_activity(
            name,
            workflow.info().workflow_id,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=seconds),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=0.2)),
        )
        return result


@workflow.defn
class ManyCalls:
    """Calls guarded activities side by side, and says which are done."""

    def __init__(self) -> None:
        self.holds = GuardedCalls(3_600)
        self.ended: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    @workflow.run
    async def run(self, names: list[str]) -> list[str]:
        self.tasks = [asyncio.create_task(self.one(at, name)) for at, name in enumerate(names)]
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        return [type(end).__name__ if end else "done" for end in ends]

    async def one(self, at: int, name: str) -> None:
        who = workflow.info().workflow_id
        await self.holds.call(name, who, start_to_close_timeout=timedelta(seconds=30))
        self.ended.append(at)

    @workflow.signal
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.holds.resume(raw)

    @workflow.signal
    def give_up(self, at: int) -> None:
        self.tasks[at].cancel()

    @workflow.query
    def done(self) -> list[int]:
        return self.ended


@workflow.defn
class DeafCaller:
    """Shows that it is held, hears `resume`, and does nothing about it."""

    def __init__(self) -> None:
        self.heard = 0

    @workflow.run
    async def run(self, dependency: str) -> None:
        workflow.upsert_search_attributes([WAITING_FOR.value_set(WaitingFor.at_breakers([dependency]))])
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def resume(self, body: RawValue) -> None:
        self.heard += 1

    @workflow.query
    def times(self) -> int:
        return self.heard


class Service:
    """A dependency with a breaker, a worker and callers of its own: breakers are shared by name."""

    def __init__(self, client: Client, queue: str, worker: Any) -> None:
        suffix = uuid.uuid4().hex[:8]
        self.client, self.queue = client, queue
        self.dependency = f"rates-{suffix}"
        self.down = False
        self.bug = False
        self.calls: Counter[str] = Counter()
        self.keys: list[str] = []
        self._worker = worker
        self.activity = f"call-{suffix}"

    def call(self) -> Any:
        """The guarded activity."""

        @activity.defn(name=self.activity, no_thread_cancel_exception=True)
        @guarded(self.dependency)
        def call(caller: str) -> str:
            self.calls[caller] += 1
            self.keys.append(current_key.get())
            if self.bug:
                raise ValueError("a bug of ours")
            if self.down:
                raise ApplicationError("It is away.", type=UNAVAILABLE)
            return "done"

        return call

    def running(self, *more: Any) -> Any:
        workflows = [HeldCaller, PlainCaller, ManyCalls, DeafCaller, BreakerWorkflow]
        return self._worker(self.queue, workflows=workflows, activities=[self.call(), *REACHES, *more])

    async def breaker(self, **more: Any) -> WorkflowHandle[Any, None]:
        """It stays OPEN for ten minutes, unless somebody does something."""
        given = {"dependency": self.dependency, "threshold": 5, "open_seconds": 600, **more}
        return await self.client.start_workflow(
            WORKFLOW_TYPE, BreakerState(**given), id=breaker_id(self.dependency), task_queue=self.queue
        )

    async def caller(self) -> WorkflowHandle[Any, str]:
        return await self.client.start_workflow(
            HeldCaller.run, self.activity, id=f"caller-{uuid.uuid4().hex}", task_queue=self.queue
        )

    async def deaf(self) -> WorkflowHandle[Any, None]:
        return await self.client.start_workflow(
            DeafCaller.run, self.dependency, id=f"deaf-{uuid.uuid4().hex}", task_queue=self.queue
        )

    async def held(self, *callers: WorkflowHandle[Any, Any], listed: bool = True) -> None:
        """Until all of them show it, also in the list, which lags."""
        wanted = WaitingFor.at_breaker(self.dependency)

        async def all_held() -> bool:
            shown = [(await c.describe()).typed_search_attributes.get(WAITING_FOR) or [] for c in callers]
            count = (await self.client.count_workflows(f"WaitingFor = '{wanted}'")).count
            return all(wanted in values for values in shown) and (not listed or count >= len(callers))

        await eventually(all_held)


async def circuit(handle: WorkflowHandle[Any, Any]) -> CircuitStatus:
    status: CircuitStatus = await handle.query("get_circuit_status", result_type=CircuitStatus)
    return status


async def reaches(handle: WorkflowHandle[Any, Any], state: str) -> CircuitStatus:
    async def there() -> CircuitStatus | None:
        status = await circuit(handle)
        return status if status.state == state else None

    reached: CircuitStatus = await eventually(there)
    return reached


async def fails(handle: WorkflowHandle[Any, Any], times: int = 5) -> None:
    """What a process reports that saw these failures."""
    report = Report(process=uuid.uuid4().hex, seq=1, calls=times, failures=times, tail=times)
    await handle.signal("report", report)


async def act(handle: WorkflowHandle[Any, Any], signal: str, **more: Any) -> Verdict:
    """A person's act, sent twice as a nervous click is, and its verdict."""
    given = {"decision_id": uuid.uuid4().hex, "actor": "ann", "reason": "They said so.", **more}
    decision = Decision.model_validate(given)
    await handle.signal(signal, decision)
    with contextlib.suppress(RPCError):  # the first may have ended the run
        await handle.signal(signal, decision)
    return await verdict(handle, decision.decision_id)


async def verdict(handle: WorkflowHandle[Any, Any], decision_id: str) -> Verdict:
    """The final one."""

    async def final() -> Verdict | None:
        known: Verdict = await handle.query("get_decision", decision_id, result_type=Verdict)
        return known if known.outcome not in ("pending", "unknown") else None

    found: Verdict = await eventually(final)
    return found
