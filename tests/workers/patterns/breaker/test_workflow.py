"""The shared breaker with real workers: orders are held while it is open and go on when it closes."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from orders.messages import WORKFLOW_TYPE, OrderResult, Stage
from orders.workflows.order import OrderWorkflow
from tests.orders.fake_gateways import FakeGateways, an_order
from tests.support import eventually
from workers.client.attributes import CIRCUIT_STATE, WAITING_FOR
from workers.contracts import CircuitState, CircuitStatus, Decision, SagaStatus, Status, StepState
from workers.patterns.breaker import names as breaker
from workers.patterns.breaker.activities import find_held, offer_probe, release_held
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.messages import BreakerState
from workers.patterns.breaker.names import breaker_id
from workers.patterns.breaker.plugin import breakers
from workers.patterns.breaker.workflow import BreakerWorkflow


class Bench:
    """A queue of its own, and a dependency of its own: breakers are shared by name."""

    def __init__(self, client: Client, queue: str, worker: Any) -> None:
        self.client, self.queue = client, queue
        suffix = uuid.uuid4().hex[:8]
        self.dependency = f"payments-{suffix}"
        self.world = FakeGateways(lambda dependency: f"{dependency}-{suffix}")
        self._worker = worker

    def running(self, queue: str = "") -> Any:
        activities = [*self.world.activities(), find_held, offer_probe, release_held]
        return self._worker(
            queue or self.queue, workflows=[OrderWorkflow, BreakerWorkflow], activities=activities
        )

    async def breaker(
        self, *, open_seconds: float = 300, forced: Decision | None = None, **more: Any
    ) -> WorkflowHandle[Any, None]:
        """forced: sent with the start, as `force_open`."""
        state = BreakerState(dependency=self.dependency, threshold=5, open_seconds=open_seconds, **more)
        return await self.client.start_workflow(
            breaker.WORKFLOW_TYPE,
            state,
            id=breaker_id(self.dependency),
            task_queue=self.queue,
            start_signal="force_open" if forced else None,
            start_signal_args=[forced] if forced else [],
        )

    async def order(self, queue: str = "", **rules: Any) -> WorkflowHandle[Any, OrderResult]:
        order = an_order(uuid.uuid4().hex, **rules)
        return await self.client.start_workflow(
            WORKFLOW_TYPE,
            order,
            id=f"order-{order.order_id}",
            task_queue=queue or self.queue,
            result_type=OrderResult,
        )


@pytest.fixture
def bench(client: Client, queue: str, worker: Any) -> Bench:
    return Bench(client, queue, worker)


async def circuit(handle: WorkflowHandle[Any, Any]) -> CircuitStatus:
    status: CircuitStatus = await handle.query("get_circuit_status", result_type=CircuitStatus)
    return status


async def reaches(handle: WorkflowHandle[Any, Any], state: CircuitState, *, timeout: float = 15) -> None:
    async def there() -> bool:
        return (await circuit(handle)).state == state

    await eventually(there, timeout=timeout)


async def held(handle: WorkflowHandle[Any, Any], dependency: str) -> None:
    async def there() -> bool:
        known = (await handle.describe()).typed_search_attributes
        return known.get(WAITING_FOR) == ["breaker", f"breaker:{dependency}"]

    await eventually(there, timeout=15)


async def fails(handle: WorkflowHandle[Any, Any], times: int = 5) -> None:
    """Open the breaker as a process would that saw these failures."""
    report = Report(process=uuid.uuid4().hex, seq=1, calls=times, failures=times, tail=times)
    await handle.signal("report", report)


async def test_a_breaker_that_is_forced_as_it_starts_is_forced_until_its_time_only(bench: Bench) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    forced = Decision(decision_id="force-1", actor="ann", reason="Down.", until=until)
    async with bench.running():
        handle = await bench.breaker(forced=forced)
        await reaches(handle, CircuitState.OPEN)
        await reaches(handle, CircuitState.HALF_OPEN)
        assert (await circuit(handle)).forced is None


async def test_five_failures_open_it_and_healing_lets_the_held_orders_go_on(bench: Bench) -> None:
    bench.world.down("charge_payment")
    async with bench.running():
        shared = await bench.breaker(open_seconds=2)
        orders = [await bench.order() for _ in range(6)]
        await reaches(shared, CircuitState.OPEN)
        calls = bench.world.calls["charge_payment"]
        assert 5 <= calls <= 6 + 5, "the gate closes with the fifth failure; what was on its way may end"
        await asyncio.gather(*(held(order, bench.dependency) for order in orders))
        assert "works again" in (await orders[0].query("get_status", result_type=Status)).summary
        bench.world.heal("charge_payment")
        results = await asyncio.gather(*(order.result() for order in orders))
        await reaches(shared, CircuitState.CLOSED)
        status = await circuit(shared)
    assert {result.stage for result in results} == {Stage.DELIVERED}
    assert [move.state for move in status.transitions[-2:]] == ["HALF_OPEN", "CLOSED"]
    attributes = (await shared.describe()).typed_search_attributes
    assert attributes.get(CIRCUIT_STATE) == "CLOSED"


async def test_only_one_order_probes_and_a_failing_probe_opens_it_again(bench: Bench) -> None:
    bench.world.down("charge_payment")
    async with bench.running():
        shared = await bench.breaker(open_seconds=2)
        await fails(shared)
        await reaches(shared, CircuitState.OPEN)
        orders = [await bench.order() for _ in range(4)]
        await asyncio.gather(*(held(order, bench.dependency) for order in orders))
        assert bench.world.calls["charge_payment"] == 0

        async def probed() -> bool:
            states = [move.state for move in (await circuit(shared)).transitions]
            return states[:3] == ["OPEN", "HALF_OPEN", "OPEN"]

        await eventually(probed, timeout=15)
        assert bench.world.calls["charge_payment"] == 1
        bench.world.heal("charge_payment")
        await asyncio.gather(*(order.result() for order in orders))


async def test_an_order_that_never_reached_the_dependency_has_nothing_to_undo_there(bench: Bench) -> None:
    bench.world.down("refund_payment")
    async with bench.running():
        shared = await bench.breaker()
        await fails(shared)
        await reaches(shared, CircuitState.OPEN)
        order = await bench.order()
        await held(order, bench.dependency)
        await order.signal("cancel", Decision(decision_id="c", actor="ann", reason="Too slow."))
        assert (await order.result()).stage is Stage.CANCELLED
        steps = (await order.query("get_saga_status", result_type=SagaStatus)).steps
    assert steps[-1].status == StepState.PENDING
    assert bench.world.standing == set()


async def test_held_orders_try_again_by_themselves(bench: Bench) -> None:
    async with bench.running():
        shared = await bench.breaker()
        await fails(shared)
        await reaches(shared, CircuitState.OPEN)
        order = await bench.order(held_retry_seconds=0.5)
        await held(order, bench.dependency)
        await shared.terminate()  # nobody is left who could wake it
        await bench.breaker()
        assert (await order.result()).stage is Stage.DELIVERED


async def test_half_open_without_anybody_to_probe_waits_for_the_next_order(bench: Bench) -> None:
    async with bench.running():
        shared = await bench.breaker(open_seconds=0.2)
        await fails(shared)

        async def nobody() -> bool:
            status = await circuit(shared)
            return status.state == CircuitState.HALF_OPEN and status.probe_lease is None

        await reaches(shared, CircuitState.HALF_OPEN)
        await eventually(nobody, timeout=30, every=0.5)
        order = await bench.order()
        assert (await order.result()).stage is Stage.DELIVERED
        await reaches(shared, CircuitState.CLOSED)


async def test_without_a_breaker_calls_go_through(bench: Bench) -> None:
    async with bench.running():
        assert (await (await bench.order()).result()).stage is Stage.DELIVERED


async def test_two_worker_processes_share_what_they_see(bench: Bench) -> None:
    bench.world.down("charge_payment")
    other = f"{bench.queue}-other"
    async with bench.running(), bench.running(other):
        shared = await bench.breaker()
        orders = [await bench.order(queue) for queue in (bench.queue, other) for _ in range(4)]
        await reaches(shared, CircuitState.OPEN)
        await asyncio.gather(*(held(order, bench.dependency) for order in orders))
        for order in orders:
            await order.terminate()


async def test_business_refusals_are_successes(bench: Bench) -> None:
    bench.world.declining("charge_payment")
    async with bench.running():
        shared = await bench.breaker()
        orders = [await bench.order() for _ in range(7)]
        results = await asyncio.gather(*(order.result() for order in orders))
        assert {result.stage for result in results} == {Stage.DECLINED}
        status = await circuit(shared)
    assert (status.state, status.failure_count) == (CircuitState.CLOSED, 0)


async def test_continues_as_new_with_all_it_knows(bench: Bench) -> None:
    async with bench.running():
        first = await bench.breaker(most_events=30)
        newest = bench.client.get_workflow_handle(first.id)
        for seq in range(1, 4):
            await newest.signal("report", Report(process="p", seq=seq, calls=1, failures=1, tail=1))
        before = (await circuit(newest)).failure_count
        for seq in range(4, 14):  # of an epoch that is not: statistics only
            await newest.signal("report", Report(process="p", seq=seq, epoch=99, calls=1))

        async def renewed() -> bool:
            return (await newest.describe()).run_id != first.result_run_id

        await eventually(renewed)
        await newest.signal("report", Report(process="p", seq=13, calls=1, failures=1, tail=1))
        status = await circuit(newest)
        assert (before, status.failure_count) == (3, 3), "the report's number is known to the new run"
        assert (status.dependency, status.threshold, status.calls) == (bench.dependency, 5, 13)


async def test_configure_and_wrong_bodies(bench: Bench) -> None:
    async with bench.running():
        shared = await bench.breaker()
        for signal in ("report", "configure"):
            await shared.signal(signal)
            await shared.signal(signal, "garbage")
            await shared.signal(signal, args=[{"threshold": 0}, 2])
        assert (await circuit(shared)).threshold == 5
        await fails(shared)
        await reaches(shared, CircuitState.OPEN)
        config = BreakerConfig(dependency=bench.dependency, threshold=2, open_seconds=0.1)
        await shared.signal("configure", config)
        await reaches(shared, CircuitState.HALF_OPEN)
        assert (await circuit(shared)).threshold == 2


async def test_an_idle_breaker_writes_no_events(bench: Bench) -> None:
    async with bench.running():
        shared = await bench.breaker()

        async def settled() -> int:
            """It has asked once whether an older one held anybody, and taken the answer."""
            kinds = [EventType.Name(event.event_type) async for event in shared.fetch_history_events()]
            asked = "EVENT_TYPE_ACTIVITY_TASK_COMPLETED" in kinds
            return len(kinds) if asked and kinds[-1] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED" else 0

        before = await eventually(settled)
        await circuit(shared)
        await asyncio.sleep(0.5)
        assert (await shared.describe()).history_length == before


async def test_a_starting_worker_keeps_the_registered_breakers_running(client: Client, worker: Any) -> None:
    await breakers.prepare(client)
    await breakers.prepare(client)
    async with worker(breaker.QUEUE):
        for dependency, config in breakers.configs.items():
            status = await circuit(client.get_workflow_handle(breaker_id(dependency)))
            known = (status.dependency, status.threshold, status.open_seconds)
            assert known == (dependency, config.threshold, config.open_seconds)
