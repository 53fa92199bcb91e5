"""SagaWorkflow on a real server: every way that it can end, and what no end leaves standing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.fake_services import Run, FakeServices, a_plan, final, nested, step, thrice
from workers.contracts import Money, Outcome, SagaState, Status, StepState
from workers.patterns.dynamic.resolve import UNKNOWN_ACTIVITY
from workers.patterns.saga.plan import INVALID_SAGA, SagaPlan
from workers.patterns.saga.workflow import SagaWorkflow

pytestmark = pytest.mark.django_db(transaction=True)


async def test_completes_and_tells_what_would_undo_it(client: Client, services: FakeServices) -> None:
    run = await Run.start(client, services, step("create"), step("notify", undo="", amount=None), step("update", needs=["create", "notify"]))
    result = await run.handle.result()
    first = run.handle.first_execution_run_id
    assert (result.state, result.outcome) == (SagaState.COMPLETED, "All steps were done.")
    assert result.results["update"] == {"booked": "update"}
    assert services.steps[2].results == {"create": {"booked": "create"}, "notify": {"booked": "notify"}}
    assert services.steps[2].idempotency_key == f"{first}/update/1"
    handed = [(item.step, item.undo, item.idempotency_key) for item in result.compensations]
    assert handed == [(name, "cancel_booking", f"{first}/{name}/1") for name in ("create", "update")]
    assert (await run.status()).exposure == [Money(minor=200, currency="EUR")]
    await run.until("completed")


async def test_a_declined_step_undoes_those_before_it_last_first(client: Client, services: FakeServices) -> None:
    services.declining("three")
    run = await Run.start(client, services, step("one"), step("two"), step("three"))
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "three: no.")
    assert [(undo.input["name"], undo.result, undo.reason) for undo in services.undos] == [
        ("two", {"booked": "two"}, "three: no."),
        ("one", {"booked": "one"}, "three: no."),
    ]
    assert (services.standing, (await run.status()).exposure) == ([], [])
    assert result.compensations == []
    await run.until("compensated")
    await replays(client, run.handle, "saga", [SagaWorkflow])


async def test_a_name_that_nobody_has_fails_at_once(client: Client, services: FakeServices) -> None:
    run = await Run.start(client, services, step("one"), nested("inner", step("two", undo="nobodys")))
    with pytest.raises(WorkflowFailureError) as caught:
        await run.handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == UNKNOWN_ACTIVITY
    assert "nobodys" in caught.value.cause.message
    assert not services.steps, "not even the first step ran"


async def test_a_plan_that_makes_no_sense_fails_at_once(client: Client, services: FakeServices) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await client.execute_workflow(
            SagaWorkflow.run, SagaPlan(), id=uuid.uuid4().hex, task_queue=services.queue
        )
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == INVALID_SAGA


async def test_side_by_side_one_fails_and_all_that_may_have_happened_is_undone(
    client: Client, services: FakeServices
) -> None:
    landed, refuse = services.hanging("left"), services.hanging("right")
    services.refusing("right")
    side_by_side = [step(name, group="loads") for name in ("done", "left", "right")]
    run = await Run.start(client, services, step("first"), *side_by_side)
    await eventually(lambda: services.calls["left"] and services.calls["right"])

    async def done() -> bool:
        return (await run.steps())["done"] == StepState.DONE

    await eventually(done)
    refuse.set()
    result = await run.handle.result()
    landed.set()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "right: no.")
    status = await run.status()
    assert [(item.group, item.status) for item in status.steps] == [
        ("", StepState.DONE),
        ("loads", StepState.DONE),
        ("loads", StepState.UNKNOWN),
        ("loads", StepState.FAILED),
    ]
    assert [undo.input["name"] for undo in services.undos] == ["left", "done", "first"]
    await eventually(lambda: services.calls["left"] and not services.standing)
    await replays(client, run.handle, "saga-together", [SagaWorkflow])


async def test_cancelling_during_the_compensation_twice_changes_nothing(client: Client, services: FakeServices) -> None:
    go_on = services.hanging("undo one")
    services.refusing("two")
    run = await Run.start(client, services, step("one"), step("two"))
    await eventually(lambda: services.calls["undo one"])
    said = [await run.say("cancel", actor=actor, reason="Stop!") for actor in ("ann", "bob")]
    await run.handle.cancel()
    await run.until("compensating")
    await run.handle.cancel()
    go_on.set()
    result = await run.handle.result()
    assert {answer.outcome for answer in said} == {Outcome.REFUSED}
    assert (result.state, services.calls["undo one"], services.standing) == (SagaState.COMPENSATED, 1, [])


async def test_a_native_cancellation_undoes_all_and_ends_cancelled(client: Client, services: FakeServices) -> None:
    services.hanging("two")
    run = await Run.start(client, services, step("one"), step("two"))
    await eventually(lambda: services.calls["two"])
    await run.handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
    services.gates["two"].set()
    assert (await run.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert [undo.input["name"] for undo in services.undos] == ["two", "one"]
    await run.until("compensated")


async def test_an_open_breaker_makes_a_compensation_wait_and_never_fails_it(
    client: Client, services: FakeServices
) -> None:
    services.held("undo one", "payments")
    services.refusing("two")
    run = await Run.start(client, services, step("one"), step("two"))
    await run.until("compensating", "breaker", "breaker:payments")
    del services.faults["undo one"]
    await run.handle.signal("resume", {"dependency": "payments"})
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert len({undo.undo_key for undo in services.undos}) == 1
    assert len(services.undos) == 2
    assert services.standing == []


async def test_side_by_side_each_is_held_by_its_own_breaker(client: Client, services: FakeServices) -> None:
    dependencies = {"left": "payments", "right": "freight", "other": "payments"}
    for name, dependency in dependencies.items():
        services.held(name, dependency)
    run = await Run.start(client, services, *(step(name, group="g") for name in dependencies))
    await eventually(lambda: all(services.calls[name] for name in dependencies))
    await run.until("running", "breaker", "breaker:freight", "breaker:payments")
    services.faults.clear()
    await run.handle.signal("resume", {"dependency": "freight"})
    await run.until("running", "breaker", "breaker:payments")
    await run.handle.signal("resume", {"dependency": "payments"})
    assert (await run.handle.result()).state == SagaState.COMPLETED


def test_a_plan_survives_the_wire() -> None:
    plan = a_plan(step("one", undo_retry=thrice()), nested("inner", step("two", group="g")))
    assert SagaPlan.model_validate_json(plan.model_dump_json()) == plan
