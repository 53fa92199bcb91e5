"""A breaker closes again whatever calls: plain activities, several calls of one run, ready-made workflows."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import PauseActivityRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from tests.support import eventually
from tests.workers.patterns.breaker.guarded_services import (
    REACHES,
    ManyCalls,
    PlainCaller,
    Service,
    act,
    circuit,
    fails,
    reaches,
)
from workers.client.attributes import WAITING_FOR
from workers.client.launch import launch
from workers.patterns.breaker import gate as gates
from workers.patterns.breaker import reporter
from workers.patterns.breaker.activities import amounts
from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.interceptor import STALLED_SECONDS
from workers.patterns.breaker.names import QUEUE as BREAKERS
from workers.patterns.breaker.names import breaker_id, guarded
from workers.patterns.breaker.plugin import breakers
from workers.patterns.breaker.workflow import BreakerWorkflow
from workers.patterns.dynamic.workflow import DynamicInput, DynamicWorkflow
from workers.patterns.single_operation.messages import CircuitOperation
from workers.patterns.single_operation.workflow import CANCELLED, CircuitBreakerWorkflow
from workers.registry.queues import DYNAMIC, PLATFORM
from workers.registry.registry import registry


@pytest.fixture
def service(client: Client, queue: str, worker: Any) -> Service:
    return Service(client, queue, worker)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "HALF_OPEN_RETRY_SECONDS", 0.5)


async def plain(service: Service, name: str = "", seconds: float = 30) -> WorkflowHandle[Any, str]:
    return await service.client.start_workflow(
        PlainCaller.run,
        args=[name or service.activity, seconds],
        id=f"plain-{uuid.uuid4().hex}",
        task_queue=service.queue,
    )


async def waiting(handle: WorkflowHandle[Any, Any]) -> list[str]:
    found = (await handle.describe()).typed_search_attributes.get(WAITING_FOR)
    return list(found or [])


async def test_plain_activities_open_it_wait_it_out_and_close_it(
    service: Service, soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    """No workflow is held, so none can be offered the probe; none fails either."""
    service.down = True
    caplog.set_level(logging.INFO, "temporalio.workflow")
    async with service.running():
        shared = await service.breaker(threshold=3, open_seconds=0.5)
        callers = [await plain(service) for _ in range(3)]
        await reaches(shared, "OPEN")

        async def probed() -> bool:
            return [move.why for move in (await circuit(shared)).transitions].count("The probe failed.") > 0

        await eventually(probed)
        service.down = False
        assert [await caller.result() for caller in callers] == ["done"] * 3
        await reaches(shared, "CLOSED")
    lines = [record.getMessage() for record in caplog.records if record.name == "temporalio.workflow"]
    name = service.dependency
    assert lines[0] == f"The breaker of {name} opened. 3 failures in a row."
    assert f"The breaker of {name} opened. The probe failed. Workflows held: 0." in lines
    assert lines[-1] == f"The breaker of {name} closed. The probe succeeded. Workflows held: 0."


async def test_a_person_lets_the_next_call_probe(service: Service, soon: None) -> None:
    async with service.running():
        shared = await service.breaker()
        await fails(shared)
        await reaches(shared, "OPEN")
        told = await act(shared, "probe")
        assert told.outcome == "applied"
        assert told.detail == "No workflow is held at this breaker; the next call probes."
        caller = await plain(service)
        assert await caller.result() == "done"
        assert (await reaches(shared, "CLOSED")).transitions[-1].why == "The probe succeeded."


async def test_held_workflows_are_counted_with_their_amounts_when_one_probes(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_words(runs: Sequence[Any]) -> str:
        return f"€{len(runs)}.00"

    monkeypatch.setattr(amounts, "in_words", in_words)
    caplog.set_level(logging.INFO, "temporalio.workflow")
    async with service.running():
        shared = await service.breaker(open_seconds=3)
        await fails(shared)
        callers = [await service.caller() for _ in range(2)]
        await service.held(*callers)
        for caller in callers:
            await caller.result()
    assert "The probe succeeded. Workflows held: 2, worth €2.00." in caplog.text


@pytest.fixture
def silent() -> Iterator[threading.Event]:
    """What a dependency that never answers waits for."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_dependency_that_never_answers_opens_it(service: Service, silent: threading.Event) -> None:
    """The thread of such a call cannot be stopped, so the call has no end that could be counted."""

    @activity.defn(name=f"silent-{service.activity}", no_thread_cancel_exception=True)
    @guarded(service.dependency)
    def never(caller: str) -> str:
        silent.wait(60)
        return "too late"

    async with service.running(never):
        shared = await service.breaker(threshold=1)
        caller = await plain(service, f"silent-{service.activity}", seconds=1)
        status = await reaches(shared, "OPEN")
        assert status.last_error == "No answer within start-to-close."
        silent.set()
        await caller.terminate()
    assert (status.calls, status.failures) == (1, 1)


async def test_a_process_that_stood_still_says_nothing_of_the_dependency(service: Service) -> None:
    """As after a suspended laptop: the time-outs of all calls in flight are seen at once, long after them."""
    tries, answered = list[str](), asyncio.Event()

    @activity.defn(name=f"stalls-{service.activity}")
    @guarded(service.dependency)
    async def stalls(caller: str) -> str:
        tries.append(caller)
        await answered.wait()
        return "done"

    async with service.running(stalls):
        shared = await service.breaker(threshold=1)
        caller = await plain(service, f"stalls-{service.activity}", seconds=1)
        await eventually(lambda: tries)
        time.sleep(STALLED_SECONDS + 2)  # the worker is in this process, and stands still too
        await eventually(lambda: len(tries) > 1)  # the server has given the first one up
        answered.set()
        assert await caller.result() == "done"
        status = await eventually(partial(_counted, shared))
    assert (status.state, status.failures) == ("CLOSED", 0)


async def _counted(shared: WorkflowHandle[Any, Any]) -> Any:
    status = await circuit(shared)
    return status if status.calls else None


async def test_what_an_operator_pauses_is_no_failure(service: Service, silent: threading.Event) -> None:
    interrupted = threading.Event()

    @activity.defn(name=f"long-{service.activity}")
    @guarded(service.dependency)
    def long(caller: str) -> str:
        try:
            while not silent.wait(0.1):
                activity.heartbeat()
        except BaseException as error:
            interrupted.set()
            raise ConnectionResetError("cut off") from error  # what a client makes of the interruption
        return "done"

    async with service.running(long):
        shared = await service.breaker(threshold=1)
        await circuit(shared)
        caller = await plain(service, f"long-{service.activity}")

        async def begun() -> bool:
            return bool((await caller.describe()).raw_description.pending_activities)

        await eventually(begun)
        await service.client.workflow_service.pause_activity(
            PauseActivityRequest(
                namespace=service.client.namespace,
                execution=WorkflowExecution(workflow_id=caller.id),
                type=f"long-{service.activity}",
            )
        )
        await eventually(interrupted.is_set)
        healthy = await plain(service)
        assert await asyncio.wait_for(healthy.result(), 20) == "done"

        async def counted() -> bool:
            return (await circuit(shared)).calls > 0

        await eventually(counted)
        status = await circuit(shared)
        await caller.terminate()
    assert (status.state, status.calls, status.failures) == ("CLOSED", 1, 0)


async def test_several_calls_of_a_run_are_held_each_by_its_own_breaker(
    service: Service, client: Client, queue: str, worker: Any
) -> None:
    other = Service(client, queue, worker)
    async with service.running(other.call()):
        shared, another = await service.breaker(), await other.breaker()
        await fails(shared)
        await fails(another)
        names = [service.activity, other.activity, service.activity]
        run = await client.start_workflow(ManyCalls.run, names, id=f"many-{queue}", task_queue=queue)
        both = ["breaker", *sorted(f"breaker:{each.dependency}" for each in (service, other))]

        async def held() -> bool:
            return await waiting(run) == both

        await eventually(held)
        assert (await act(shared, "probe", workflow_id=run.id)).outcome == "applied"
        await eventually(lambda: _done(run, {0, 2}))
        assert await waiting(run) == ["breaker", f"breaker:{other.dependency}"]
        assert (await act(another, "probe", workflow_id=run.id)).outcome == "applied"
        assert await run.result() == ["done"] * 3
        assert await waiting(run) == []
    keys = [*service.keys, *other.keys]
    assert len(set(keys)) == len(keys) == 3, "each call has a key of its own"
    assert all(keys)


async def _done(run: WorkflowHandle[Any, Any], wanted: set[int]) -> bool:
    return set(await run.query("done")) == wanted


async def test_one_key_over_all_tries_and_a_call_given_up_ends_alone(
    service: Service, client: Client, queue: str
) -> None:
    """Its first try has no answer and is refused after that; the second goes out under the same key."""
    service.down = True
    async with service.running():
        shared = await service.breaker(threshold=1)
        names = [service.activity, service.activity]
        run = await client.start_workflow(ManyCalls.run, names, id=f"many-{queue}", task_queue=queue)
        await service.held(run)
        await run.signal("give_up", 1)
        service.down = False
        assert (await act(shared, "probe", workflow_id=run.id)).outcome == "applied"
        assert await run.result() == ["done", "CancelledError"]
    assert 2 <= len(service.keys) <= 3, (
        "the first try of each that came before the breaker opened, and the last"
    )
    assert service.keys[-1] in service.keys[:-1]


async def test_a_registered_breaker_that_was_ended_is_started_by_a_report(
    service: Service, client: Client, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BreakerConfig(dependency=service.dependency, threshold=2)
    monkeypatch.setitem(breakers.configs, service.dependency, config)
    monkeypatch.setattr(reporter, "QUIET_SECONDS", 1.0)
    shared: WorkflowHandle[Any, Any] = client.get_workflow_handle(breaker_id(service.dependency))
    async with service.running(), worker(BREAKERS, workflows=[BreakerWorkflow], activities=REACHES):
        first = await service.breaker(threshold=2)
        assert await (await plain(service)).result() == "done"
        await first.terminate("by mistake")
        assert await (await plain(service)).result() == "done"

        async def runs_again() -> bool:
            known = await shared.describe()
            return known.close_time is None and known.run_id != first.result_run_id

        await eventually(runs_again)
        assert (await circuit(shared)).threshold == 2
        await shared.terminate()


async def test_a_decision_on_another_chain_is_refused(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        told = await act(shared, "force_open", chain="another")
        assert (told.outcome, told.detail) == ("refused", "The decision is about another run under this id.")
        assert (await circuit(shared)).state == "CLOSED"
        assert (await act(shared, "force_open", chain=shared.result_run_id)).outcome == "applied"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["dynamic", "operation"])
async def test_workflows_of_one_activity_are_held_too(
    kind: str, service: Service, client: Client, worker: Any
) -> None:
    """More refusals than they have tries, or openings, are not counted against them."""
    call = service.call()
    registry.load()
    registry.add(service.queue, activities=[call])
    try:
        async with service.running(), worker(PLATFORM), worker(DYNAMIC):
            shared = await service.breaker()
            await fails(shared)
            name = f"{kind}-{service.dependency}"
            if kind == "dynamic":
                wanted = DynamicInput(activity_name=service.activity, input="me", attempts=1)
                run = await launch(DynamicWorkflow, wanted, id=name, client=client)
            else:
                operation = CircuitOperation(
                    activity=service.activity, input="me", max_openings=1, threshold=1
                )
                run = await launch(CircuitBreakerWorkflow, operation, id=name, client=client)
            await service.held(run)
            assert (await act(shared, "probe", workflow_id=run.id)).outcome == "applied"
            assert await run.result() == "done"
    finally:
        del registry.queues[service.queue]


@pytest.mark.django_db(transaction=True)
async def test_a_held_operation_is_cancelled_at_once(service: Service, client: Client, worker: Any) -> None:
    registry.load()
    registry.add(service.queue, activities=[service.call()])
    try:
        async with service.running(), worker(PLATFORM):
            shared = await service.breaker()
            await fails(shared)
            operation = CircuitOperation(activity=service.activity, input="me", open_seconds=3_600)
            run = await launch(
                CircuitBreakerWorkflow, operation, id=f"operation-{service.dependency}", client=client
            )
            await service.held(run)
            assert (await act(run, "cancel")).outcome == "applied"
            with pytest.raises(WorkflowFailureError) as caught:
                await run.result(rpc_timeout=timedelta(seconds=10))
    finally:
        del registry.queues[service.queue]
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == CANCELLED
