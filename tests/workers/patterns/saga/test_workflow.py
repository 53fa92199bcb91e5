"""SagaWorkflow on a real server: every way that it can end, and what no end leaves standing."""

from __future__ import annotations

import uuid

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.fake_services import FakeServices, Run, final, nested, step
from workers.contracts import Money, Outcome, SagaState, Status, StepState
from workers.patterns.dynamic.activities import UNKNOWN_ACTIVITY
from workers.patterns.saga import compensation, steps
from workers.patterns.saga.plan import INVALID_SAGA, SagaPlan
from workers.patterns.saga.workflow import SagaWorkflow

pytestmark = pytest.mark.django_db(transaction=True)


async def test_completes_and_tells_what_would_undo_it(client: Client, services: FakeServices) -> None:
    run = await Run.start(
        client,
        services,
        step("create"),
        step("notify", undo="", amount=None),
        step("update", needs=["create", "notify"]),
    )
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


def undone(services: FakeServices) -> list[str]:
    return [undo.input["name"] for undo in services.undos]


async def test_a_declined_step_undoes_those_before_it_last_first(
    client: Client, services: FakeServices
) -> None:
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


@pytest.mark.parametrize("final", [True, False], ids=["non-retryable", "retryable"])
async def test_any_other_failure_leaves_the_outcome_unknown_so_it_is_undone_too(
    client: Client, services: FakeServices, final: bool
) -> None:
    services.refusing("two", final=final)
    run = await Run.start(client, services, step("one"), step("two"))
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert (await run.steps())["two"] == StepState.UNKNOWN
    assert undone(services) == ["two", "one"]


async def test_a_step_that_declares_no_effect_just_fails(client: Client, services: FakeServices) -> None:
    services.refusing("look")
    run = await Run.start(client, services, step("one"), step("look", undo="", amount=None))
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert (await run.steps())["look"] == StepState.FAILED
    assert undone(services) == ["one"]


async def test_a_step_gets_only_the_results_that_it_needs(client: Client, services: FakeServices) -> None:
    run = await Run.start(client, services, step("one"), step("two"), step("three", needs=["two"]))
    await run.handle.result()
    assert [list(call.results) for call in services.steps] == [[], [], ["two"]]


@pytest.mark.parametrize("past", [False, True], ids=["before", "past the point of no return"])
async def test_a_result_that_is_too_large_fails_the_saga_or_is_dropped(
    client: Client, services: FakeServices, past: bool
) -> None:
    large = step("x" * 90)
    steps = [final("ship"), large] if past else [step("one"), large]
    run = await Run.start(client, services, *steps, max_result_bytes=50)
    result = await run.handle.result()
    if past:
        assert (result.state, result.results[large.name]) == (SagaState.COMPLETED, None)
    else:
        assert (result.state, "too large" in result.outcome) == (SagaState.COMPENSATED, True)
        assert undone(services) == [large.name, "one"]


async def test_near_the_limit_of_the_history_no_step_begins_and_all_is_undone(
    client: Client, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FORWARD_EVENTS", 30)
    run = await Run.start(client, services, *(step(f"s{number}") for number in range(9)))
    result = await run.handle.result()
    assert (result.state, "nearly full" in result.outcome) == (SagaState.COMPENSATED, True)
    done = [call.input for call in services.steps]
    assert 2 < len(done) < 9
    assert undone(services) == done[::-1]


async def test_past_the_point_of_no_return_a_full_history_does_not_undo_it(
    client: Client, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FORWARD_EVENTS", 20)
    later = [step(f"s{number}") for number in range(4)]
    run = await Run.start(client, services, final("ship"), *later)
    result = await run.handle.result()
    assert (result.state, "nearly full" in result.outcome) == (SagaState.COMPENSATED, True)
    assert "ship" not in undone(services)
    assert services.standing == ["ship"]


async def test_near_the_limit_a_held_compensation_waits_for_an_operator(
    client: Client, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compensation, "COMPENSATION_EVENTS", 5)
    services.held("undo one", "payments")
    services.declining("two")
    run = await Run.start(client, services, step("one"), step("two"))
    await run.until("stuck", "operator")
    services.faults.clear()
    assert (await run.say("resolve_compensation", choice="retry")).outcome == Outcome.APPLIED
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert services.standing == []


async def test_cancel_undoes_what_may_have_happened(client: Client, services: FakeServices) -> None:
    landed = services.hanging("two")
    run = await Run.start(client, services, step("one"), step("two"), step("three"))
    await eventually(lambda: services.calls["two"])
    first = await run.say("cancel", actor="ann", reason="Stop.")
    again = await run.say("cancel", actor="bob")
    result = await run.handle.result()
    landed.set()
    assert (first.outcome, again.outcome) == (Outcome.APPLIED, Outcome.ALREADY_DECIDED)
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "Cancelled by ann: Stop.")
    assert undone(services) == ["two", "one"]
    assert services.calls["three"] == 0


async def test_cancel_while_a_breaker_holds_what_was_never_sent_undoes_only_the_rest(
    client: Client, services: FakeServices
) -> None:
    services.held("two", "payments")
    run = await Run.start(client, services, step("one"), step("two"))
    await run.until("running", "breaker", "breaker:payments")
    status = await run.handle.query("get_status", result_type=Status)
    assert status.waiting_for == ["breaker", "breaker:payments"]
    assert (await run.say("cancel")).outcome == Outcome.APPLIED
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert undone(services) == ["one"]


async def test_an_unknown_name_fails_at_once(client: Client, services: FakeServices) -> None:
    run = await Run.start(client, services, step("one"), nested("inner", step("two", undo="unheard")))
    with pytest.raises(WorkflowFailureError) as caught:
        await run.handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == UNKNOWN_ACTIVITY
    assert "unheard" in caught.value.cause.message
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
    services.declining("right")
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
    assert undone(services) == ["left", "done", "first"]
    await eventually(lambda: services.calls["left"] and not services.standing)
    await replays(client, run.handle, "saga-together", [SagaWorkflow])


async def test_cancelling_during_the_compensation_twice_changes_nothing(
    client: Client, services: FakeServices
) -> None:
    go_on = services.hanging("undo one")
    services.declining("two")
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


async def test_a_native_cancellation_undoes_all_and_ends_cancelled(
    client: Client, services: FakeServices
) -> None:
    services.hanging("two")
    run = await Run.start(client, services, step("one"), step("two"))
    await eventually(lambda: services.calls["two"])
    await run.handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
    services.gates["two"].set()
    assert (await run.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert undone(services) == ["two", "one"]
    await run.until("compensated")


async def test_an_open_breaker_makes_a_compensation_wait_and_never_fails_it(
    client: Client, services: FakeServices
) -> None:
    services.held("undo one", "payments")
    services.declining("two")
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
