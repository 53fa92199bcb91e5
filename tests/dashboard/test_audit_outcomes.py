"""Decisions whose request could not wait for the verdict: the audit gets their outcome later, once."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest

from dashboard.access import Subject
from dashboard.audit import log, outcomes
from dashboard.models import AuditEntry
from tests.dashboard.flows import Decidable, Foreign, foreign_worker
from tests.support import eventually
from workers.client.connection import has_pollers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(outcomes, "YOUNGEST", timedelta(0))


@pytest.fixture
async def start(client, queue):
    async def _start(flow=Decidable):
        return await client.start_workflow(flow.run, id=f"flow-{uuid.uuid4().hex}", task_queue=queue)

    return _start


async def intent_on(run, viewers, namespace, action="approve"):
    subject = Subject(namespace, run.id, run.first_execution_run_id or "", None)
    return await log.intend(viewers["approver"], action, subject, decision_id=uuid.uuid4().hex)


async def approve(run, intent):
    body = {"decision_id": intent.decision_id, "actor": "anna", "roles": [], "reason": "ok", "at": None}
    await run.signal("approve", body)


async def outcomes_of(intent):
    rows = AuditEntry.objects.filter(intent=intent).order_by("id")
    return [row.outcome async for row in rows]


async def test_what_no_worker_confirmed_is_concluded_once_when_one_is_back(start, client, queue, viewers):
    run = await start()
    intent = await intent_on(run, viewers, client.namespace)
    await approve(run, intent)
    await log.conclude(intent, "pending", "no worker answers")
    assert await outcomes.settle(client) == 0
    async with foreign_worker(client, queue):
        await eventually(lambda: has_pollers(client, queue))
        assert sum(await asyncio.gather(outcomes.settle(client), outcomes.settle(client))) == 1
        assert await outcomes.settle(client) == 0
    assert await outcomes_of(intent) == ["pending", "applied"]
    outcome = await AuditEntry.objects.aget(intent=intent, outcome="applied")
    assert (outcome.actor, outcome.detail) == ("anna", "anna as : ok")


async def test_a_request_that_died_after_sending_gets_its_outcome(start, client, queue, viewers):
    async with foreign_worker(client, queue):
        run = await start()
        intent = await intent_on(run, viewers, client.namespace)
        await approve(run, intent)
        assert await outcomes.settle(client) == 1
    assert await outcomes_of(intent) == ["applied"]


async def test_a_decision_that_was_never_sent_is_called_so(start, client, queue, viewers):
    async with foreign_worker(client, queue):
        run = await start()
        lost, sent = [await intent_on(run, viewers, client.namespace) for _ in range(2)]
        await log.conclude(sent, "pending", "sent, and kept by Temporal")
        assert await outcomes.settle(client) == 1
    assert await outcomes_of(lost) == ["failed"]
    assert await outcomes_of(sent) == ["pending"]


@pytest.mark.parametrize(
    ("flow", "end", "action", "outcome"),
    [
        (Decidable, "finish", "approve", "unanswered"),
        (Foreign, "cancel", "approve", "unanswered"),
        (Foreign, "terminate", "approve", "unanswered"),
        (Foreign, "cancel", "request_cancel", "applied"),
    ],
)
async def test_a_run_that_ended_without_a_verdict_says_how(
    start, client, queue, viewers, flow, end, action, outcome
):
    async with foreign_worker(client, queue):
        run = await start(flow)
        intent = await intent_on(run, viewers, client.namespace, action)
        await run.query("__stack_trace")  # its first task is done, so it can answer when it has ended
        if end == "finish":
            await run.signal("go", end)
        else:
            await getattr(run, end)()
        await eventually(lambda: ended(run))
        assert await outcomes.settle(client) == 1
    assert await outcomes_of(intent) == [outcome]


async def test_a_run_that_can_never_answer_is_given_up_after_a_day(
    start, client, queue, viewers, monkeypatch
):
    run = await start()
    intent = await intent_on(run, viewers, client.namespace)
    await run.terminate()  # before its first task: there is nothing that a query could be asked of
    await eventually(lambda: ended(run))
    assert await outcomes.settle(client) == 0
    monkeypatch.setattr(outcomes, "GIVEN_UP", timedelta(0))
    assert await outcomes.settle(client) == 1
    assert await outcomes_of(intent) == ["unanswered"]


async def ended(run):
    return (await run.describe()).close_time is not None


async def test_a_run_that_is_gone_is_named(client, viewers):
    intent = await log.intend(
        viewers["approver"],
        "approve",
        Subject(client.namespace, "not-there", "", None),
        decision_id=uuid.uuid4().hex,
    )
    assert await outcomes.settle(client) == 1
    row = await AuditEntry.objects.aget(intent=intent)
    assert (row.outcome, row.detail) == ("unanswered", "Temporal no longer keeps this run.")


async def test_a_request_under_way_is_left_alone(start, client, queue, viewers, monkeypatch):
    monkeypatch.setattr(outcomes, "YOUNGEST", timedelta(seconds=40))
    async with foreign_worker(client, queue):
        run = await start()
        intent = await intent_on(run, viewers, client.namespace)
        await approve(run, intent)
        assert await outcomes.settle(client) == 0
    assert await outcomes_of(intent) == []


async def test_the_page_lists_decisions_without_an_outcome(client, viewers, async_client, operator_user):
    subject = Subject(client.namespace, "order-waits", "", None)
    waits = await log.intend(viewers["approver"], "approve", subject, decision_id="d-1")
    done = await log.intend(viewers["approver"], "reject", subject, decision_id="d-2")
    await log.conclude(waits, "pending", "no worker answers")
    await log.conclude(done, "refused", "No.")
    await async_client.aforce_login(operator_user)
    page = await async_client.get("/audit/", {"outcome": "none"})
    assert [entry.pk for entry in page.context["entries"]] == [waits.pk]
    everything = (await async_client.get("/audit/", {"workflow": "order-waits"})).context["entries"]
    assert len(everything) == 4
