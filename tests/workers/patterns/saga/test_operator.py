"""What waits for an operator, on a real server: compensations, steps, unknown points of no return."""

from __future__ import annotations

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.saga.fake_services import FakeServices, Run, final, step, thrice
from workers.contracts import Money, Outcome, SagaState, Status, StepState
from workers.patterns.saga.workflow import SagaWorkflow

pytestmark = pytest.mark.django_db(transaction=True)


def undone(services: FakeServices) -> list[str]:
    return [undo.input["name"] for undo in services.undos]


async def test_a_compensation_has_attempts_of_its_own(client: Client, services: FakeServices) -> None:
    services.refusing("undo one", kind="Away", final=False)
    services.declining("two")
    run = await Run.start(client, services, step("one", undo_retry=thrice()), step("two"))
    await run.until("stuck", "operator")
    assert services.calls["undo one"] == 3
    await run.handle.terminate()


async def test_a_stuck_compensation_alerts_an_operator_who_settles_it(
    client: Client, services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    services.refusing("undo two")
    services.declining("three")
    run = await Run.start(client, services, step("one"), step("two"), step("three"))
    await run.until("stuck", "operator")
    await eventually(lambda: f"two (workflow {run.handle.id}): Refused: undo two" in caplog.text)
    status = await run.handle.query("get_status", result_type=Status)
    assert (status.waiting_for, "operator" in status.summary) == (["operator"], True)
    assert services.calls["undo one"] == 0, "what two may rest on is undone after it"
    bare = await run.say("resolve_compensation", choice="settled_outside")
    edited = {"step": "two", "choice": "retry", "input": {"name": "two", "iban": 1}}
    blind = await run.say("resolve_compensation", **edited)
    retry = await run.say("resolve_compensation", **edited, evidence="The bank has no refund.")
    assert (bare.outcome, blind.outcome, retry.outcome) == (
        Outcome.REFUSED,
        Outcome.REFUSED,
        Outcome.APPLIED,
    )
    await eventually(lambda: len(services.undos) == 2)
    await run.until("stuck", "operator")
    assert services.undos[1].input == {"name": "two", "iban": 1}
    keys = [undo.undo_key.rpartition("/undo/")[2] for undo in services.undos]
    assert keys == ["1", "2"]
    await run.say("resolve_compensation", step="two", choice="settled_outside", evidence="Transfer 12.")
    result = await run.handle.result()
    assert (result.state, result.by_hand) == (SagaState.COMPENSATED, ["two"])
    assert services.standing == ["two"]
    assert (await run.status()).exposure == []
    await replays(client, run.handle, "saga-stuck", [SagaWorkflow])


async def test_an_input_that_must_not_be_sent_leaves_the_compensation_stuck(
    client: Client, services: FakeServices
) -> None:
    services.refusing("undo one")
    services.declining("two")
    run = await Run.start(client, services, step("one"), step("two"))
    await run.until("stuck", "operator")
    plain = Client(client.service_client, namespace=client.namespace, data_converter=pydantic_data_converter)
    careless = Run(plain.get_workflow_handle_for(SagaWorkflow.run, run.handle.id))
    edited = {"name": "one", "password": "hunter2"}
    seen = {"choice": "retry", "evidence": "Nothing was cancelled."}
    await careless.say("resolve_compensation", input=edited, **seen)

    async def refused() -> bool:
        undo = (await run.status()).steps[0].compensation
        return undo is not None and undo.status == StepState.STUCK and "password" in (undo.error or "")

    await eventually(refused)
    del services.faults["undo one"]
    await run.say("resolve_compensation", input={"name": "one"}, **seen)
    assert (await run.handle.result()).state == SagaState.COMPENSATED
    assert [undo.undo_key.rpartition("/")[2] for undo in services.undos] == ["1", "3"]


async def test_what_does_not_need_a_stuck_compensation_is_undone_past_it(
    client: Client, services: FakeServices
) -> None:
    for name in ("undo two", "undo four"):
        services.refusing(name)
    services.declining("five")
    independent = step("one", undo_after=[])
    named = step("three", undo_after=["four"])
    run = await Run.start(client, services, independent, step("two"), named, step("four"), step("five"))
    await run.until("stuck", "operator")
    await eventually(lambda: services.calls["undo one"])
    assert undone(services) == ["four", "one"], "three needs four undone, and two comes after both"
    await run.say("resolve_compensation", choice="skip", evidence="Seen.")
    await eventually(lambda: services.calls["undo two"])
    await run.until("stuck", "operator")
    assert undone(services) == ["four", "one", "three", "two"]
    await run.say("resolve_compensation", choice="skip", evidence="Seen.")
    assert (await run.handle.result()).by_hand == ["two", "four"]


async def test_of_several_that_are_stuck_the_operator_names_the_one(
    client: Client, services: FakeServices
) -> None:
    for name in ("undo one", "undo two"):
        services.refusing(name)
    services.declining("three")
    run = await Run.start(client, services, step("one", undo_after=[]), step("two"), step("three"))

    async def both() -> bool:
        undos = [item.compensation for item in (await run.status()).steps[:2]]
        return [undo.status for undo in undos if undo] == [StepState.STUCK] * 2

    await eventually(both)
    vague = await run.say("resolve_compensation", choice="skip", evidence="Seen.")
    assert (vague.outcome, vague.detail) == (Outcome.REFUSED, "Several steps are stuck; name the step.")
    await run.say("resolve_compensation", step="one", choice="skip", evidence="Seen.")
    await run.until("stuck", "operator")
    await run.say("resolve_compensation", step="two", choice="skip", evidence="Seen.")
    assert (await run.handle.result()).by_hand == ["one", "two"]


async def test_after_the_point_of_no_return_it_only_goes_forward(
    client: Client, services: FakeServices
) -> None:
    services.refusing("tell")
    run = await Run.start(client, services, step("one"), final("ship"), step("tell"), step("close"))
    await run.until("stuck", "operator")
    assert (await run.steps())["tell"] == StepState.STUCK
    late = await run.say("cancel", reason="Changed my mind.")
    assert late.outcome == Outcome.REFUSED
    assert "point of no return" in late.detail
    await run.handle.cancel()
    del services.faults["tell"]
    assert (await run.say("resolve_compensation", step="tell", choice="retry")).outcome == Outcome.APPLIED
    result = await run.handle.result()
    assert (result.state, services.undos) == (SagaState.COMPLETED, [])
    assert services.standing == ["one", "ship", "tell", "close"]
    assert [item.step for item in result.compensations] == ["tell", "close"]
    assert len({call.idempotency_key for call in services.steps if call.input == "tell"}) == 1


async def test_a_required_step_that_was_declined_runs_again_under_another_key(
    client: Client, services: FakeServices
) -> None:
    services.declining("tell")
    run = await Run.start(client, services, final("ship"), step("tell"))
    await run.until("stuck", "operator")
    del services.faults["tell"]
    await run.say("resolve_compensation", step="tell", choice="retry")
    assert (await run.handle.result()).state == SagaState.COMPLETED
    assert services.standing == ["ship", "tell"], "the service refuses the first key for good"


async def test_a_step_that_cannot_be_done_any_more_is_settled_by_an_operator(
    client: Client, services: FakeServices
) -> None:
    services.refusing("tell")
    run = await Run.start(client, services, final("ship"), step("tell"))
    await run.until("stuck", "operator")
    await run.say("resolve_compensation", choice="skip", evidence="Told by phone.")
    result = await run.handle.result()
    assert (result.state, result.by_hand, result.results["tell"]) == (SagaState.COMPLETED, ["tell"], None)


@pytest.mark.parametrize("choice", ["retry", "skip", "settled_outside"])
async def test_a_point_of_no_return_of_unknown_outcome_waits_for_an_operator(
    client: Client, services: FakeServices, choice: str
) -> None:
    """Retry: under the same key. Skip: it did not happen, so the rest is undone. Settled: it is done."""
    services.refusing("tickets", kind="Away", final=False)
    run = await Run.start(client, services, step("one"), final("tickets").model_copy(update={"undo": ""}))
    await run.until("stuck", "operator")
    late = await run.say("cancel", reason="Too late?")
    assert (late.outcome, "its outcome comes first" in late.detail) == (Outcome.REFUSED, True)
    assert (await run.status()).exposure == [Money(minor=200, currency="EUR")]
    services.faults.clear()
    said = await run.say("resolve_compensation", step="tickets", choice=choice, evidence="Seen.")
    assert said.outcome == Outcome.APPLIED
    result = await run.handle.result()
    skipped = choice == "skip"
    assert result.state == (SagaState.COMPENSATED if skipped else SagaState.COMPLETED)
    assert undone(services) == (["one"] if skipped else [])
    assert len({call.idempotency_key for call in services.steps if call.input == "tickets"}) == 1


async def test_a_point_of_no_return_that_was_declined_undoes_the_rest(
    client: Client, services: FakeServices
) -> None:
    services.declining("tickets")
    run = await Run.start(client, services, step("one"), final("tickets").model_copy(update={"undo": ""}))
    result = await run.handle.result()
    assert (result.state, result.outcome) == (SagaState.COMPENSATED, "tickets: no.")
    assert undone(services) == ["one"]
