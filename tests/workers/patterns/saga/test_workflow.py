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
from tests.workers.patterns.saga.fake_services import Run, Yard, a_plan, final, nested, step, thrice
from workers.contracts import Money, Outcome, SagaState, Status, StepState
from workers.patterns.dynamic.resolve import UNKNOWN_ACTIVITY
from workers.patterns.saga.plan import INVALID_SAGA, SagaPlan
from workers.patterns.saga.workflow import SagaWorkflow

pytestmark = pytest.mark.django_db(transaction=True)


async def test_completes_and_tells_what_would_undo_it(client: Client, yard: Yard) -> None:
    run = await Run.start(client, yard, step("create"), step("notify", undo=""), step("update"))
    result = await run.handle.result()
    first = run.handle.first_execution_run_id
    assert (result.state, result.outcome) == (SagaState.COMPLETED, "All steps were done.")
    assert result.results["update"] == {"coupled": "update"}
    assert yard.steps[2].results == {"create": {"coupled": "create"}, "notify": {"coupled": "notify"}}
    assert yard.steps[2].idempotency_key == f"{first}/update/1"
    handed = [(item.step, item.undo, item.idempotency_key) for item in result.compensations]
    assert handed == [(name, "uncouple", f"{first}/{name}/1") for name in ("create", "update")]
    assert (await run.status()).exposure == [Money(minor=300, currency="EUR")]
    await run.until("completed")


async def test_a_refused_step_undoes_those_before_it_last_first(client: Client, yard: Yard) -> None:
    yard.refusing("three")
    run = await Run.start(client, yard, step("one"), step("two"), step("three"))
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "three: no.")
    assert [(undo.input["name"], undo.result, undo.reason) for undo in yard.undos] == [
        ("two", {"coupled": "two"}, "three: no."),
        ("one", {"coupled": "one"}, "three: no."),
    ]
    assert (yard.standing, (await run.status()).exposure) == ([], [])
    assert result.compensations == []
    await run.until("compensated")
    await replays(client, run.handle, "saga", [SagaWorkflow])


async def test_a_name_that_nobody_has_fails_at_once(client: Client, yard: Yard) -> None:
    run = await Run.start(client, yard, step("one"), nested("inner", step("two", undo="nobodys")))
    with pytest.raises(WorkflowFailureError) as caught:
        await run.handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == UNKNOWN_ACTIVITY
    assert "nobodys" in caught.value.cause.message
    assert not yard.steps, "not even the first step ran"


async def test_a_plan_that_makes_no_sense_fails_at_once(client: Client, yard: Yard) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await client.execute_workflow(
            SagaWorkflow.run, SagaPlan(), id=uuid.uuid4().hex, task_queue=yard.queue
        )
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == INVALID_SAGA


async def test_a_compensation_has_tries_of_its_own(client: Client, yard: Yard) -> None:
    yard.refusing("undo one", kind="Away", final=False)
    yard.refusing("two")
    run = await Run.start(client, yard, step("one", undo_retry=thrice()), step("two"))
    await run.until("stuck", "operator")
    assert yard.calls["undo one"] == 3
    await run.handle.terminate()


async def test_a_stuck_compensation_calls_a_person_and_ends_by_one(
    client: Client, yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    yard.refusing("undo two")
    yard.refusing("three")
    run = await Run.start(client, yard, step("one"), step("two"), step("three"))
    await run.until("stuck", "operator")
    await eventually(lambda: f"two (workflow {run.handle.id}): Refused: undo two" in caplog.text)
    status = await run.handle.query("get_status", result_type=Status)
    assert (status.waiting_for, "operator" in status.summary) == (["operator"], True)
    assert yard.calls["undo one"] == 0, "those after it wait"
    bare = await run.say("resolve_compensation", choice="settled_outside")
    retry = await run.say(
        "resolve_compensation", step="two", choice="retry", input={"name": "two", "iban": 1}
    )
    assert (bare.outcome, retry.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    await eventually(lambda: len(yard.undos) == 2)
    await run.until("stuck", "operator")
    assert yard.undos[1].input == {"name": "two", "iban": 1}
    keys = [undo.undo_key.rpartition("/undo/")[2] for undo in yard.undos]
    assert keys == ["1", "2"]
    await run.say("resolve_compensation", step="two", choice="settled_outside", evidence="Transfer 12.")
    result = await run.handle.result()
    assert (result.state, result.by_hand) == (SagaState.COMPENSATED, ["two"])
    assert yard.standing == ["two"]
    assert (await run.status()).exposure == []
    await replays(client, run.handle, "saga-stuck", [SagaWorkflow])


async def test_an_input_that_must_not_be_sent_leaves_the_compensation_stuck(
    client: Client, yard: Yard
) -> None:
    yard.refusing("undo one")
    yard.refusing("two")
    run = await Run.start(client, yard, step("one"), step("two"))
    await run.until("stuck", "operator")
    stranger = Client(
        client.service_client, namespace=client.namespace, data_converter=pydantic_data_converter
    )
    careless = Run(stranger.get_workflow_handle_for(SagaWorkflow.run, run.handle.id))
    edited = {"name": "one", "password": "hunter2"}
    await careless.say("resolve_compensation", choice="retry", input=edited)

    async def refused() -> bool:
        undo = (await run.status()).steps[0].compensation
        return undo is not None and undo.status == StepState.STUCK and "password" in (undo.error or "")

    await eventually(refused)
    del yard.faults["undo one"]
    await run.say("resolve_compensation", choice="retry", input={"name": "one"})
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert [undo.undo_key.rpartition("/")[2] for undo in yard.undos] == ["1", "3"]


async def test_after_the_point_of_no_return_it_only_goes_forward(client: Client, yard: Yard) -> None:
    yard.refusing("tell")
    run = await Run.start(client, yard, step("one"), final("ship"), step("tell"), step("close"))
    await run.until("stuck", "operator")
    assert (await run.steps())["tell"] == StepState.STUCK
    late = await run.say("cancel", reason="Changed my mind.")
    assert late.outcome == Outcome.REFUSED
    assert "point of no return" in late.detail
    await run.handle.cancel()
    del yard.faults["tell"]
    assert (await run.say("resolve_compensation", step="tell", choice="retry")).outcome == Outcome.APPLIED
    result = await run.handle.result()
    assert (result.state, yard.undos) == (SagaState.COMPLETED, [])
    assert yard.standing == ["one", "ship", "tell", "close"]
    assert [item.step for item in result.compensations] == ["tell", "close"]


async def test_a_step_that_no_one_can_do_any_more_is_settled_by_a_person(client: Client, yard: Yard) -> None:
    yard.refusing("tell")
    run = await Run.start(client, yard, final("ship"), step("tell"))
    await run.until("stuck", "operator")
    await run.say("resolve_compensation", choice="skip", evidence="Told by phone.")
    result = await run.handle.result()
    assert (result.state, result.by_hand, result.results["tell"]) == (SagaState.COMPLETED, ["tell"], None)


async def test_side_by_side_one_fails_and_all_that_may_have_happened_is_undone(
    client: Client, yard: Yard
) -> None:
    landed, refuse = yard.hanging("left"), yard.hanging("right")
    yard.refusing("right")
    side_by_side = [step(name, group="loads") for name in ("done", "left", "right")]
    run = await Run.start(client, yard, step("first"), *side_by_side)
    await eventually(lambda: yard.calls["left"] and yard.calls["right"])

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
    assert [undo.input["name"] for undo in yard.undos] == ["left", "done", "first"]
    await eventually(lambda: yard.calls["left"] and not yard.standing)
    await replays(client, run.handle, "saga-together", [SagaWorkflow])


async def test_a_nested_saga_hands_back_what_undoes_it(client: Client, yard: Yard) -> None:
    yard.refusing("last")
    deeper = nested("deeper", step("three"))
    run = await Run.start(client, yard, step("one"), nested("inner", step("two"), deeper), step("last"))
    result = await run.handle.result()
    assert result.state == SagaState.COMPENSATED
    assert [undo.input["name"] for undo in yard.undos] == ["three", "two", "one"]
    assert yard.standing == []
    steps = (await run.status()).steps
    assert [(item.name, item.child_workflow_id.removeprefix(run.handle.id)) for item in steps] == [
        ("one", ""),
        ("inner", "-inner"),
        ("two", "-inner"),
        ("three", "-inner-deeper"),
        ("last", ""),
    ]
    inner: Any = client.get_workflow_handle_for(SagaWorkflow.run, f"{run.handle.id}-inner")
    assert (await inner.result()).state == SagaState.COMPLETED
    await replays(client, run.handle, "saga-nested", [SagaWorkflow])


async def test_a_nested_saga_that_fails_has_undone_itself(client: Client, yard: Yard) -> None:
    yard.refusing("three")
    run = await Run.start(client, yard, step("one"), nested("inner", step("two"), step("three")))
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "three: no.")
    assert [undo.input["name"] for undo in yard.undos] == ["two", "one"]
    assert (await run.steps())["inner"] == StepState.FAILED


async def test_cancel_reaches_a_nested_saga_and_what_is_around_it(client: Client, yard: Yard) -> None:
    landed = yard.hanging("two")
    run = await Run.start(client, yard, step("one"), nested("inner", step("two")))
    await eventually(lambda: yard.calls["two"])
    answer = await run.say("cancel", actor="ann", reason="Stop.")
    result = await run.handle.result()
    landed.set()
    assert (answer.outcome, result.outcome) == (Outcome.APPLIED, "Cancelled by ann: Stop.")
    assert [undo.input["name"] for undo in yard.undos] == ["two", "one"]
    inner = await client.get_workflow_handle(f"{run.handle.id}-inner").describe()
    assert inner.status is WorkflowExecutionStatus.CANCELED
    assert yard.standing == []


async def test_of_a_nested_saga_that_was_terminated_only_a_person_knows(client: Client, yard: Yard) -> None:
    yard.hanging("two")
    run = await Run.start(client, yard, step("one"), nested("inner", step("two")))
    await eventually(lambda: yard.calls["two"])
    await client.get_workflow_handle(f"{run.handle.id}-inner").terminate()
    await run.until("stuck", "operator")
    again = await run.say("resolve_compensation", step="inner", choice="retry")
    settled = await run.say("resolve_compensation", step="inner", choice="settled_outside", evidence="Seen.")
    yard.gates["two"].set()
    result = await run.handle.result()
    assert (again.outcome, settled.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    assert (result.state, result.by_hand) == (SagaState.COMPENSATED, ["inner"])
    assert [undo.input["name"] for undo in yard.undos] == ["one"]


async def test_cancelling_during_the_compensation_twice_changes_nothing(client: Client, yard: Yard) -> None:
    go_on = yard.hanging("undo one")
    yard.refusing("two")
    run = await Run.start(client, yard, step("one"), step("two"))
    await eventually(lambda: yard.calls["undo one"])
    said = [await run.say("cancel", actor=actor, reason="Stop!") for actor in ("ann", "bob")]
    await run.handle.cancel()
    await run.until("compensating")
    await run.handle.cancel()
    go_on.set()
    result = await run.handle.result()
    assert {answer.outcome for answer in said} == {Outcome.REFUSED}
    assert (result.state, yard.calls["undo one"], yard.standing) == (SagaState.COMPENSATED, 1, [])


async def test_a_native_cancellation_undoes_all_and_ends_cancelled(client: Client, yard: Yard) -> None:
    yard.hanging("two")
    run = await Run.start(client, yard, step("one"), step("two"))
    await eventually(lambda: yard.calls["two"])
    await run.handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
    yard.gates["two"].set()
    assert (await run.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert [undo.input["name"] for undo in yard.undos] == ["two", "one"]
    await run.until("compensated")


async def test_an_open_breaker_makes_a_compensation_wait_and_never_fails_it(
    client: Client, yard: Yard
) -> None:
    yard.held("undo one", "payments")
    yard.refusing("two")
    run = await Run.start(client, yard, step("one"), step("two"))
    await run.until("compensating", "breaker", "breaker:payments")
    del yard.faults["undo one"]
    await run.handle.signal("resume", {"dependency": "payments"})
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert len({undo.undo_key for undo in yard.undos}) == 1
    assert len(yard.undos) == 2
    assert yard.standing == []


async def test_side_by_side_each_is_held_by_its_own_breaker(client: Client, yard: Yard) -> None:
    dependencies = {"left": "payments", "right": "freight", "other": "payments"}
    for name, dependency in dependencies.items():
        yard.held(name, dependency)
    run = await Run.start(client, yard, *(step(name, group="g") for name in dependencies))
    await eventually(lambda: all(yard.calls[name] for name in dependencies))
    await run.until("running", "breaker", "breaker:freight", "breaker:payments")
    yard.faults.clear()
    await run.handle.signal("resume", {"dependency": "freight"})
    await run.until("running", "breaker", "breaker:payments")
    await run.handle.signal("resume", {"dependency": "payments"})
    assert (await run.handle.result()).state == SagaState.COMPLETED


async def test_a_nested_saga_beside_a_step_that_fails_is_awaited_before_anything_is_undone(
    client: Client, yard: Yard
) -> None:
    go_on, refuse = yard.hanging("undo inside"), yard.hanging("right")
    yard.refusing("right")
    inner = nested("inner", step("inside"), step("later"), held_retry_seconds=600)
    yard.held("later", "freight")
    run = await Run.start(
        client, yard, step("first"), inner.model_copy(update={"group": "g"}), step("right", group="g")
    )
    await eventually(lambda: yard.calls["right"] and yard.calls["later"])
    refuse.set()
    await eventually(lambda: yard.calls["undo inside"])
    assert yard.calls["undo first"] == 0
    go_on.set()
    assert (await run.handle.result()).outcome == "right: no."
    assert [undo.input["name"] for undo in yard.undos] == ["inside", "first"]


async def test_goes_on_with_another_worker_wherever_the_first_one_stopped(
    client: Client, halted: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    halted.held("inside", "freight")
    halted.held("beside", "payments")
    inner = nested("inner", step("inside")).model_copy(update={"group": "g"})
    async with halted.running():
        run = await Run.start(client, halted, inner, step("beside", group="g"))
        await run.until("running", "breaker", "breaker:payments")
        inside = Run(client.get_workflow_handle(f"{run.handle.id}-inner"))
        await inside.until("running", "breaker", "breaker:freight")
    halted.faults.clear()
    async with halted.running():
        await run.handle.signal("resume", {"dependency": "payments"})
        await inside.handle.signal("resume", {"dependency": "freight"})
        result = await run.handle.result()
    assert (result.state, sorted(halted.standing)) == (SagaState.COMPLETED, ["beside", "inside"])
    assert "tasks remain" not in caplog.text, "a workflow that leaves the cache takes its tasks along"


def test_a_plan_survives_the_wire() -> None:
    plan = a_plan(step("one", undo_retry=thrice()), nested("inner", step("two", group="g")))
    assert SagaPlan.model_validate_json(plan.model_dump_json()) == plan
