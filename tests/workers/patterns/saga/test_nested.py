"""Sagas within sagas, on a real server: what a child did, undid or left unknown is in the parent's ledger."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.fake_services import FakeServices, Run, a_plan, final, nested, step
from workers.contracts import Money, Outcome, SagaState, StepState
from workers.patterns.saga.workflow import SagaWorkflow

pytestmark = pytest.mark.django_db(transaction=True)


def undone(services: FakeServices) -> list[str]:
    return [undo.input["name"] for undo in services.undos]


async def test_a_nested_saga_hands_back_what_undoes_it(client: Client, services: FakeServices) -> None:
    services.declining("last")
    deeper = nested("deeper", step("three"))
    run = await Run.start(client, services, step("one"), nested("inner", step("two"), deeper), step("last"))
    result = await run.handle.result()
    assert result.state == SagaState.COMPENSATED
    assert undone(services) == ["three", "two", "one"]
    assert services.standing == []
    inner = await run.nested("inner")
    chain = run.handle.first_execution_run_id[-12:]
    assert inner.handle.id == f"{run.handle.id}-inner-{chain}"
    steps = (await run.status()).steps
    children = [(item.name, item.child_workflow_id.removeprefix(inner.handle.id)[:8]) for item in steps]
    assert children == [("one", ""), ("inner", ""), ("two", ""), ("three", "-deeper-"), ("last", "")]
    assert (await inner.handle.result()).state == SagaState.COMPLETED
    await replays(client, run.handle, "saga-nested", [SagaWorkflow])


async def test_a_nested_saga_that_fails_has_undone_itself(client: Client, services: FakeServices) -> None:
    services.declining("three")
    run = await Run.start(client, services, step("one"), nested("inner", step("two"), step("three")))
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "three: no.")
    assert undone(services) == ["two", "one"]
    assert (await run.steps())["inner"] == StepState.FAILED


async def test_cancel_reaches_a_nested_saga_and_what_is_around_it(
    client: Client, services: FakeServices
) -> None:
    landed = services.hanging("two")
    run = await Run.start(client, services, step("one"), nested("inner", step("two")))
    await eventually(lambda: services.calls["two"])
    answer = await run.say("cancel", actor="ann", reason="Stop.")
    result = await run.handle.result()
    landed.set()
    assert (answer.outcome, result.outcome) == (Outcome.APPLIED, "Cancelled by ann: Stop.")
    assert undone(services) == ["two", "one"]
    inner = await (await run.nested("inner")).handle.describe()
    assert inner.status is WorkflowExecutionStatus.CANCELED
    assert services.standing == []


async def test_a_nested_saga_that_was_terminated_is_an_operators_to_settle(
    client: Client, services: FakeServices
) -> None:
    services.hanging("two")
    run = await Run.start(client, services, step("one"), nested("inner", step("two")))
    await eventually(lambda: services.calls["two"])
    await (await run.nested("inner")).handle.terminate()
    await run.until("stuck", "operator")
    again = await run.say("resolve_compensation", step="inner", choice="retry")
    settled = await run.say("resolve_compensation", step="inner", choice="settled_outside", evidence="Seen.")
    services.gates["two"].set()
    result = await run.handle.result()
    assert (again.outcome, settled.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    assert (result.state, result.by_hand) == (SagaState.COMPENSATED, ["inner"])
    assert undone(services) == ["one"]


async def test_a_terminated_one_that_is_required_starts_anew_only_with_evidence(
    client: Client, services: FakeServices
) -> None:
    services.hanging("two")
    run = await Run.start(client, services, final("ship"), nested("inner", step("two")))
    await eventually(lambda: services.calls["two"])
    await (await run.nested("inner")).handle.terminate()
    await run.until("stuck", "operator")
    bare = await run.say("resolve_compensation", step="inner", choice="retry")
    assert (bare.outcome, "may have happened" in bare.detail) == (Outcome.REFUSED, True)
    services.gates["two"].set()
    services.faults.clear()
    sure = await run.say("resolve_compensation", step="inner", choice="retry", evidence="No booking there.")
    assert sure.outcome == Outcome.APPLIED
    result = await run.handle.result()
    assert result.state == SagaState.COMPLETED
    assert [item.step for item in result.compensations] == ["two"], "no word of the first one is left"


async def test_a_nested_saga_beside_a_step_that_fails_is_awaited_before_anything_is_undone(
    client: Client, services: FakeServices
) -> None:
    go_on, refuse = services.hanging("undo inside"), services.hanging("right")
    services.declining("right")
    inner = nested("inner", step("inside"), step("later"), held_retry_seconds=600)
    services.held("later", "freight")
    run = await Run.start(
        client, services, step("first"), inner.model_copy(update={"group": "g"}), step("right", group="g")
    )
    await eventually(lambda: services.calls["right"] and services.calls["later"])
    refuse.set()
    await eventually(lambda: services.calls["undo inside"])
    assert services.calls["undo first"] == 0
    go_on.set()
    assert (await run.handle.result()).outcome == "right: no."
    assert undone(services) == ["inside", "first"]


async def test_goes_on_with_another_worker_wherever_the_first_one_stopped(
    client: Client, services_without_workers: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    services = services_without_workers
    services.held("inside", "freight")
    services.held("beside", "payments")
    inner = nested("inner", step("inside")).model_copy(update={"group": "g"})
    async with services.running():
        run = await Run.start(client, services, inner, step("beside", group="g"))
        await run.until("running", "breaker", "breaker:payments")
        inside = await run.nested("inner")
        await inside.until("running", "breaker", "breaker:freight")
    services.faults.clear()
    async with services.running():
        await run.handle.signal("resume", {"dependency": "payments"})
        await inside.handle.signal("resume", {"dependency": "freight"})
        result = await run.handle.result()
    assert (result.state, sorted(services.standing)) == (SagaState.COMPLETED, ["beside", "inside"])
    assert "tasks remain" not in caplog.text, "a workflow that leaves the cache takes its tasks along"


async def test_an_id_that_is_in_use_starts_nothing_and_undoes_the_rest(
    client: Client, services: FakeServices
) -> None:
    go_on = services.hanging("one")
    run = await Run.start(client, services, step("one"), nested("inner", step("two")))
    await eventually(lambda: services.calls["one"])
    services.hanging("other")
    taken = f"{run.handle.id}-inner-{run.handle.first_execution_run_id[-12:]}"
    other = await client.start_workflow(
        SagaWorkflow.run, a_plan(step("other")), id=taken, task_queue=services.queue
    )
    go_on.set()
    result = await run.handle.result()
    assert (result.state, "already started" in result.outcome.lower()) == (SagaState.COMPENSATED, True)
    assert (await run.steps())["inner"] == StepState.FAILED
    assert undone(services) == ["one"]
    await other.terminate()
    services.gates["other"].set()


async def test_past_the_point_of_no_return_an_id_in_use_waits_for_an_operator(
    client: Client, services: FakeServices
) -> None:
    go_on = services.hanging("ship")
    run = await Run.start(client, services, final("ship"), nested("inner", step("two")))
    await eventually(lambda: services.calls["ship"])
    services.hanging("other")
    taken = f"{run.handle.id}-inner-{run.handle.first_execution_run_id[-12:]}"
    other = await client.start_workflow(
        SagaWorkflow.run, a_plan(step("other")), id=taken, task_queue=services.queue
    )
    go_on.set()
    await run.until("stuck", "operator")
    assert (await run.say("resolve_compensation", choice="retry")).outcome == Outcome.APPLIED
    assert (await run.handle.result()).state == SagaState.COMPLETED
    assert services.standing == ["ship", "two"]
    await other.terminate()
    services.gates["other"].set()


async def test_a_new_chain_is_not_in_the_way_of_a_child_of_the_last_one(
    client: Client, services: FakeServices
) -> None:
    services.hanging("two")
    plan, same = a_plan(nested("inner", step("two"))), f"saga-{uuid.uuid4().hex}"
    handles: list[Any] = []
    for _ in range(2):
        handles.append(
            await client.start_workflow(SagaWorkflow.run, plan, id=same, task_queue=services.queue)
        )
        await eventually(lambda: services.calls["two"] == len(handles))
        if len(handles) == 1:
            services.hanging("undo two")
            await handles[0].terminate()
    services.gates["two"].set()
    assert (await handles[1].result()).state == SagaState.COMPLETED
    services.gates["undo two"].set()


async def test_what_a_nested_saga_did_for_good_counts_in_the_one_around_it(
    client: Client, services: FakeServices
) -> None:
    services.held("last", "freight")
    inner = nested("inner", step("two"), final("three"), step("four"))
    run = await Run.start(client, services, step("one"), inner, step("last", amount=None))
    await run.until("running", "breaker", "breaker:freight")
    assert (await run.status()).exposure == [Money(minor=400, currency="EUR")]
    late = await run.say("cancel", reason="Too late.")
    assert (late.outcome, "point of no return" in late.detail) == (Outcome.REFUSED, True)
    services.faults.clear()
    await run.handle.signal("resume", {"dependency": "freight"})
    result = await run.handle.result()
    assert (result.state, result.committed) == (SagaState.COMPLETED, True)
    assert result.committed_amounts == [Money(minor=300, currency="EUR")]
    assert [item.step for item in result.compensations] == ["four", "last"]
