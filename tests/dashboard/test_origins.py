"""Decisions that this console did not send are marked, with the identity of the client that sent them."""

from __future__ import annotations

import uuid
from html import unescape

import pytest
from django.db import OperationalError
from django.test import AsyncClient
from django.urls import reverse
from temporalio.client import Client

from dashboard.access import Subject
from dashboard.audit import origins
from dashboard.live import cached_read
from dashboard.models import AuditEntry
from dashboard.temporal_api.history import read_history
from dashboard.temporal_api.senders import Origins, SentSignal
from tests.dashboard.signed_forms import form_id
from tests.support import HTMX, eventually
from workers.conf import conf
from workers.contracts import ApprovalPolicy, Decision
from workers.patterns.approval.messages import ApprovalRequest
from workers.patterns.approval.workflow import ApprovalWorkflow

pytestmark = pytest.mark.django_db(transaction=True)
MALLORY = "mallory@laptop"
MARK = "Not sent by this console"


@pytest.fixture
async def people(approver_user, admin_user):
    cached_read.forget()
    browsers = {"anna": AsyncClient(), "ada": AsyncClient()}
    await browsers["anna"].aforce_login(approver_user)
    await browsers["ada"].aforce_login(admin_user)
    return browsers


@pytest.fixture
async def run(client, queue, worker):
    """An approval by three votes, served by a worker."""
    request = ApprovalRequest(
        subject="Payout 7", policy=ApprovalPolicy(quorum=3, roles=["approver"], delegation=True), seconds=600
    )
    async with worker(queue, workflows=[ApprovalWorkflow]):
        yield await client.start_workflow(
            ApprovalWorkflow.run, request, id=f"approval-{uuid.uuid4().hex[:8]}", task_queue=queue
        )


async def forge(run, signal: str = "approve", actor: str = "finance", **more: str) -> None:
    """Send a decision in a person's name, with a client of one's own."""
    theirs = await Client.connect(conf().address, namespace=conf().namespace, identity=MALLORY)
    body = {"actor": actor, "roles": ["approver"], "decision_id": uuid.uuid4().hex, "reason": "ok", **more}
    await theirs.get_workflow_handle(run.id).signal(signal, body)


async def signals(client, run, count: int) -> list[SentSignal]:
    """Those of the history, once it has so many; the server adds them after the workflow task under way."""

    async def there():
        sent = (await read_history(client, run.id, run.result_run_id)).sent
        return sent if len(sent) == count else None

    return await eventually(there)


async def approve(browser, run, name: str = "anna") -> None:
    url = reverse("action", args=["default", run.id, run.result_run_id, "approve"])
    sent = {"form_id": form_id(name, run.id, run.result_run_id)}
    response = await browser.post(url, sent, headers=HTMX)
    assert response.status_code == 200, response.content.decode()


async def page(browser, url: str, *words: str) -> str:
    async def has():
        cached_read.forget()
        text = unescape((await browser.get(url)).content.decode())
        return text if all(word in text for word in words) else None

    return await eventually(has)


async def test_a_forged_vote_is_marked_with_its_sender_wherever_it_is_shown(people, run):
    await approve(people["anna"], run)
    await forge(run)
    await forge(run, "delegate", actor="cleo", to="ben")
    url = reverse("run", args=["default", run.id, run.result_run_id])
    text = await page(people["anna"], url, "finance approved", "cleo delegated")
    panel = text[text.index('aria-label="Approval"') :].split("</section>")[0]
    anna, finance = panel.split("finance approved")
    assert "anna approved" in anna
    assert MARK not in anna
    assert panel.count(f"{MARK}") == 2
    assert f'identity <span class="id">{MALLORY}</span>' in finance
    history = text[text.index('aria-label="History"') :].split("</section>")[0]
    assert f"approve by finance: ok, sent by {MALLORY}" in history
    assert history.count(MARK) == 2
    inbox = await page(people["anna"], f"/ns/default/approvals/?w={run.id}", "finance approved", MALLORY)
    assert inbox.count(MARK) == 2


async def test_it_is_added_to_the_audit_once(people, run):
    await approve(people["anna"], run)
    await forge(run, reason="ok, password=hunter2")
    url = reverse("run", args=["default", run.id, run.result_run_id])
    for _ in range(2):
        await page(people["anna"], url, "finance approved", MARK)
    rows = [row async for row in AuditEntry.objects.filter(outcome="not_sent_here")]
    assert [(row.actor, row.action, row.workflow_id) for row in rows] == [("finance", "approve", run.id)]
    assert rows[0].detail == f"Not sent by this console: identity {MALLORY}."
    assert "hunter2" not in rows[0].reason
    text = await page(people["ada"], f"/audit/?workflow={run.id}", MARK.lower())
    assert MALLORY in text


async def test_the_id_of_a_known_decision_under_another_name_is_marked(people, run):
    await approve(people["anna"], run)
    known = (await AuditEntry.objects.aget(phase="intent")).decision_id
    subject = Subject("default", run.id, run.result_run_id, None)
    stolen = SentSignal(9, "approve", MALLORY, "finance", known)
    own = SentSignal(8, "approve", "signalbox/web", "anna", known)
    found = await origins.origins_of(subject, [stolen, own])
    assert found is not None
    assert found.sender(known, "anna") == ""
    assert found.sender(known, "finance") == MALLORY
    assert found.foreign == {9}


async def test_a_log_that_cannot_be_read_leaves_the_page(people, run, monkeypatch):
    def locked(*_):
        raise OperationalError("database is locked")

    await forge(run)
    monkeypatch.setattr(origins, "_compare", locked)
    text = await page(
        people["anna"], reverse("run", args=["default", run.id, run.result_run_id]), "finance approved"
    )
    assert MARK not in text
    assert f"sent by {MALLORY}" in text


async def test_garbage_and_other_signals_have_a_sender_and_no_actor(client, run):
    theirs = await Client.connect(conf().address, namespace=conf().namespace, identity=MALLORY)
    for body in ("text", {"actor": 7}, None, {"actor": "ben", "decision_id": ["x"]}):
        await theirs.get_workflow_handle(run.id).signal("approve", body)
    sent = await signals(client, run, 4)
    assert [one.actor for one in sent] == ["", "", "", "ben"]
    assert {one.identity for one in sent} == {MALLORY}
    assert sent[0].text == f"approve, from {MALLORY}"


async def test_a_decision_by_our_own_converter_has_its_actor(client, run):
    await client.get_workflow_handle(run.id).signal("approve", Decision(actor="finance", decision_id="d-7"))
    (sent,) = await signals(client, run, 1)
    assert (sent.actor, sent.decision_id) == ("finance", "d-7")


def test_where_a_workflow_keeps_no_ids_any_decision_of_the_actor_counts():
    known = Origins(here=frozenset({("d-1", "anna"), ("", "anna")}))
    assert known.sender("", "anna") == ""
    assert known.sender("", "finance") == "unknown"


async def test_names_that_no_database_can_keep_are_recorded_once(db):
    subject = Subject("default", "order-odd", "run-1", None)
    odd = SentSignal(5, "approve", MALLORY, "fin\0ance\ud800", "d\0", "why\0")
    for _ in range(2):
        found = await origins.origins_of(subject, [odd, odd])
        assert found is not None
        assert found.foreign == {5}
    assert await AuditEntry.objects.acount() == 1


async def test_a_log_that_cannot_be_written_leaves_the_marks(db, monkeypatch):
    def full(**_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(origins, "append", full)
    sent = SentSignal(5, "approve", MALLORY, "finance", "d-1")
    found = await origins.origins_of(Subject("default", "order-7", "run-1", None), [sent])
    assert found is not None
    assert found.sender("d-1", "finance") == MALLORY
