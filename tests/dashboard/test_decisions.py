"""Decisions on real workflows: exactly once, on the right run, with the workflow's own answer."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from dashboard.access import Forbidden, Hidden, Viewer
from dashboard.actions import decide as deciding
from dashboard.conf import conf
from dashboard.errors import Closed, Invalid
from dashboard.extend import actions
from dashboard.models import AuditEntry
from dashboard.temporal_api import decisions
from tests.dashboard.flows import Decidable, Foreign, foreign_worker
from tests.support import eventually
from workers.client.errors import RunNotFound, TemporalUnavailable
from workers.contracts import Outcome, Verdict

pytestmark = pytest.mark.django_db(transaction=True)


def new_id() -> str:
    return uuid.uuid4().hex


async def decide(viewer, workflow_id, run_id, action, *, deadline=None, gate=None, **fields):
    return await deciding.decide(
        viewer, actions()[action], workflow_id, run_id, fields, deadline=deadline, gate=gate
    )


@pytest.fixture
async def start(client, queue):
    """Start a workflow on a queue that a worker serves."""
    async with foreign_worker(client, queue):

        async def _start(flow=Decidable):
            return await client.start_workflow(flow.run, id=f"flow-{new_id()}", task_queue=queue)

        yield _start


async def outcomes():
    return [row.outcome async for row in AuditEntry.objects.filter(phase="outcome").order_by("id")]


async def test_a_decision_is_applied_with_the_identity_of_the_login(start, viewers):
    run = await start()
    verdict = await decide(
        viewers["approver"],
        run.id,
        run.first_execution_run_id,
        "approve",
        decision_id=new_id(),
        reason=" ok ",
    )
    assert (verdict.outcome, verdict.by, verdict.detail) == (Outcome.APPLIED, "anna", "anna as approver: ok")
    assert await outcomes() == ["applied"]


async def test_the_same_decision_again_gets_the_same_answer(start, viewers):
    run, key = await start(), new_id()
    first, second = [
        await decide(viewers["approver"], run.id, "", "approve", decision_id=key) for _ in range(2)
    ]
    assert first == second
    assert first.outcome == Outcome.APPLIED


async def test_two_at_once_one_is_too_late(start, viewers):
    run = await start()
    verdicts = await asyncio.gather(
        decide(viewers["approver"], run.id, "", "approve", decision_id=new_id()),
        decide(viewers["admin"], run.id, "", "reject", decision_id=new_id(), reason="late"),
    )
    assert sorted(v.outcome for v in verdicts) == [Outcome.ALREADY_DECIDED, Outcome.APPLIED]
    assert verdicts[0].by == verdicts[1].by


async def test_a_refusal_is_an_answer(start, viewers):
    run = await start()
    verdict = await decide(
        viewers["approver"], run.id, "", "reject", decision_id=new_id(), reason="refuse me"
    )
    assert verdict.outcome == Outcome.REFUSED


async def test_after_continue_as_new_it_reaches_the_run_that_is_open(start, client, viewers):
    run = await start()
    await run.signal("go", "roll")

    async def rolled():
        return (await client.get_workflow_handle(run.id).describe()).run_id != run.first_execution_run_id

    await eventually(rolled)
    verdict = await decide(
        viewers["approver"], run.id, run.first_execution_run_id, "approve", decision_id=new_id()
    )
    assert verdict.outcome == Outcome.APPLIED


async def test_a_later_workflow_of_the_same_id_is_left_alone(start, client, queue, viewers):
    run = await start()
    await run.signal("go", "end")
    await run.result()
    later = await client.start_workflow(Decidable.run, id=run.id, task_queue=queue)
    with pytest.raises(Closed) as caught:
        await decide(viewers["approver"], run.id, run.first_execution_run_id, "approve", decision_id=new_id())
    assert caught.value.state == "Completed"
    unknown = await later.query(Decidable.get_approval_status)
    assert unknown["votes"] == []


async def test_a_closed_workflow_says_how_it_ended_and_who_decided(start, viewers):
    run, key = await start(), new_id()
    await decide(viewers["approver"], run.id, "", "approve", decision_id=key)
    await run.signal("go", "end")
    await run.result()
    again = await decide(viewers["approver"], run.id, run.first_execution_run_id, "approve", decision_id=key)
    assert again.outcome == Outcome.APPLIED
    with pytest.raises(Closed) as caught:
        await decide(viewers["admin"], run.id, "", "reject", decision_id=new_id(), reason="late")
    assert caught.value.state == "Completed"
    assert caught.value.verdict is not None
    assert caught.value.verdict.by == "anna"
    assert await outcomes() == ["applied", "applied", "failed"]


async def test_without_a_worker_it_is_recorded_and_waits(client, queue, viewers):
    run = await client.start_workflow(Decidable.run, id=f"flow-{new_id()}", task_queue=queue)
    key, started = new_id(), time.monotonic()
    verdict = await decide(viewers["approver"], run.id, "", "approve", decision_id=key)
    assert verdict.outcome == Outcome.PENDING
    assert "not confirmed yet: no worker" in verdict.detail
    assert time.monotonic() - started < 2
    async with foreign_worker(client, queue):
        answer = await run.query(Decidable.get_decision, key)
        assert answer["outcome"] == "applied"


async def test_a_foreign_workflow_takes_the_signal_once(start, viewers):
    run, key = await start(Foreign), new_id()
    for _ in range(2):
        verdict = await decide(viewers["approver"], run.id, "", "approve", decision_id=key)
        assert (verdict.outcome, verdict.detail) == (
            Outcome.PENDING,
            "Signal accepted. This workflow does not confirm decisions; watch its status.",
        )
    assert await run.query(Foreign.told) == 1


async def test_cancellation_is_requested_of_temporal(start, viewers):
    run = await start(Foreign)
    verdict = await decide(
        viewers["operator"], run.id, "", "request_cancel", decision_id=new_id(), reason="enough"
    )
    assert (verdict.outcome, verdict.detail[:25]) == (Outcome.PENDING, "Cancellation is requested")

    async def cancelled():
        return (await run.describe()).status.name == "CANCELED"

    await eventually(cancelled)


async def test_cancel_with_the_signal_is_the_workflows_own(start, viewers):
    run = await start()
    verdict = await decide(viewers["operator"], run.id, "", "cancel", decision_id=new_id(), reason="no")
    assert verdict.outcome == Outcome.APPLIED


async def test_many_are_gathered_under_one_deadline_and_one_gate(start, viewers):
    runs = [await start() for _ in range(5)]
    gate, deadline = asyncio.Semaphore(2), time.monotonic() + 5
    verdicts = await asyncio.gather(
        *(
            decide(
                viewers["approver"], run.id, "", "approve", decision_id=new_id(), deadline=deadline, gate=gate
            )
            for run in runs
        )
    )
    assert {v.outcome for v in verdicts} == {Outcome.APPLIED}
    assert await outcomes() == ["applied"] * 5


async def test_the_gate_is_free_while_verdicts_are_waited_for(client, queue, viewers, monkeypatch):
    """Otherwise the deadline of many would pass while the first few are waited for."""
    run, gate = (
        await client.start_workflow(Decidable.run, id=f"flow-{new_id()}", task_queue=queue),
        asyncio.Lock(),
    )
    free = []

    async def verdict(*_):
        free.append(not gate.locked())
        return Verdict()

    monkeypatch.setattr(decisions, "_verdict", verdict)
    await decide(viewers["approver"], run.id, "", "approve", decision_id=new_id(), gate=gate)
    assert free == [True]


@pytest.mark.parametrize(
    ("action", "fields", "wrong"),
    [
        ("reject", {"reason": "  "}, {"reason"}),
        ("cancel", {}, {"reason"}),
        ("approve", {"reason": "x" * 2001}, {"reason"}),
        ("approve", {"decision_id": ""}, {"decision_id"}),
        ("approve", {"decision_id": "x" * 101}, {"decision_id"}),
        ("resolve_compensation", {"reason": "r", "choice": "forget", "step": ""}, {"choice", "step"}),
        (
            "resolve_compensation",
            {"reason": "r", "choice": "settled_outside", "step": "charge"},
            {"evidence"},
        ),
    ],
)
async def test_each_wrong_field_is_named_and_nothing_is_sent(viewers, action, fields, wrong):
    with pytest.raises(Invalid) as caught:
        await decide(viewers["admin"], "order-1", "", action, **{"decision_id": "d", **fields})
    assert set(caught.value.errors) == wrong
    assert await outcomes() == []


async def test_no_right_no_signal(client, viewers):
    with pytest.raises(Forbidden):
        await decide(viewers["viewer"], "order-1", "", "approve", decision_id=new_id())


async def test_no_such_workflow(client, viewers):
    with pytest.raises(RunNotFound):
        await decide(viewers["approver"], f"gone-{new_id()}", "", "approve", decision_id=new_id())


async def test_a_run_id_that_cannot_be_one(client, viewers):
    with pytest.raises(RunNotFound):
        await decide(viewers["approver"], "order-1", "not a run", "approve", decision_id=new_id())


async def test_a_strangers_run_is_not_there(start, viewers, settings):
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})
    run = await start()
    acme = Viewer("anna", frozenset({"approver"}), "acme")
    with pytest.raises(Hidden):
        await decide(acme, run.id, "", "approve", decision_id=new_id())
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_temporal_away_is_said_and_nothing_is_recorded(viewers, monkeypatch):
    async def away():
        raise TemporalUnavailable("Temporal cannot be reached.")

    monkeypatch.setattr("dashboard.access.get_client", away)
    with pytest.raises(TemporalUnavailable):
        await decide(viewers["approver"], "order-1", "", "approve", decision_id=new_id())
    assert await outcomes() == []
