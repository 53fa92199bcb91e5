"""The forms that decide: what each answer of the workflow, and each mistake, looks like to the person."""

from __future__ import annotations

import uuid

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.messages import get_messages
from django.test import AsyncClient
from django.urls import reverse

from dashboard.models import AuditEntry
from dashboard.temporal_api import decisions
from devtools.management.commands.demo_users import person
from tests.dashboard.flows import Decidable, foreign_worker
from workers.client import connection
from workers.client.connection import set_client
from workers.conf import conf as workers_conf
from workers.contracts import Verdict

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def run(client, queue):
    async with foreign_worker(client, queue):
        yield await client.start_workflow(Decidable.run, id=f"flow-{uuid.uuid4().hex}", task_queue=queue)


@pytest.fixture
async def anna(async_client, approver_user):
    await async_client.aforce_login(approver_user)
    return async_client


def address(run, action="approve"):
    return reverse("action", args=["default", run.id, run.first_execution_run_id, action])


def fields(**more):
    return {"decision_id": uuid.uuid4().hex, "reason": "", **more}


async def test_approve_goes_back_to_the_run_with_the_answer(anna, run):
    response = await anna.post(address(run), fields(reason="fine"))
    assert response.status_code == 303
    assert response["Location"] == reverse("run", args=["default", run.id, run.first_execution_run_id])
    (message,) = get_messages(response.asgi_request)
    assert str(message).startswith(f"Approved {run.id}.")
    assert message.level_tag == "success"


async def test_or_to_where_the_form_was(anna, run):
    assert (await anna.post(address(run), fields(next="/approvals/")))["Location"] == "/approvals/"
    elsewhere = await anna.post(address(run), fields(next="https://evil.example/"))
    assert elsewhere["Location"].startswith("/ns/default/workflows/")


async def test_htmx_gets_the_verdict_as_a_fragment(anna, run):
    response = await anna.post(address(run), fields(), headers={"HX-Request": "true"})
    text = response.content.decode()
    assert response.status_code == 200
    assert "Applied" in text
    assert "<html" not in text


async def test_a_reject_without_a_reason_keeps_the_form(anna, run):
    sent = fields(reason="   ", next="/approvals/")
    response = await anna.post(address(run, "reject"), sent)
    text = response.content.decode()
    assert response.status_code == 422
    assert "A reason is needed" in text
    assert 'aria-invalid="true"' in text
    assert sent["decision_id"] in text
    assert 'value="/approvals/"' in text


async def test_a_reason_that_is_too_long_is_kept_to_be_shortened(anna, run):
    response = await anna.post(address(run), fields(reason="<b>" + "x" * 2100))
    text = response.content.decode()
    assert response.status_code == 422
    assert "At most 2000 characters" in text
    assert "&lt;b&gt;" + "x" * 2100 in text
    assert await AuditEntry.objects.exclude(phase="event").acount() == 0


async def test_a_form_comes_back_whole(anna, run):
    """All its buttons, and what is offered on the run now; here only cancel, as its approval has expired."""
    sent = fields(actions="cancel pause", reason="")
    ada = AsyncClient()
    await ada.aforce_login((await sync_to_async(person)("ada", ("admin",)))[0])
    response = await ada.post(address(run, "cancel"), sent, headers={"HX-Request": "true"})
    text = response.content.decode()
    assert response.status_code == 422
    assert address(run, "cancel") in text
    assert address(run, "pause") not in text
    assert "<html" not in text


async def test_after_the_end_every_button_of_the_form_is_off(anna, run):
    await run.signal("go", "end")
    await run.result()
    response = await anna.post(address(run, "reject"), fields(actions="approve reject", reason="late"))
    text = response.content.decode()
    assert response.status_code == 409
    assert "Approve: The workflow is closed." in text
    assert "Reject: The workflow is closed." in text
    assert "late</textarea>" in text


async def test_an_outcome_that_the_contract_does_not_have_is_told_as_not_confirmed(anna, run, monkeypatch):
    async def odd(*_):
        return Verdict(outcome="accepted", detail="We took it.")

    monkeypatch.setattr(decisions, "_verdict", odd)
    response = await anna.post(address(run), fields(), headers={"HX-Request": "true"})
    assert response.status_code == 200
    assert "Sent, not confirmed yet" in response.content.decode()
    assert "We took it." in response.content.decode()


async def test_two_people(anna, run, admin_user):
    await anna.post(address(run), fields())
    ada = AsyncClient()
    await ada.aforce_login(admin_user)
    response = await ada.post(address(run, "reject"), fields(reason="late"), headers={"HX-Request": "true"})
    assert "decided already by anna" in response.content.decode()


async def test_a_closed_workflow_is_a_conflict(anna, run):
    await anna.post(address(run), fields())
    await run.signal("go", "end")
    await run.result()
    response = await anna.post(address(run, "reject"), fields(reason="late"))
    text = response.content.decode()
    assert response.status_code == 409
    assert "closed already: Completed" in text
    assert "decided already by anna" in text
    assert "late</textarea>" in text


async def test_a_role_that_may_not(anna, run):
    response = await anna.post(address(run, "cancel"), fields(reason="no"))
    assert response.status_code == 403
    assert "operator or admin" in response.content.decode()
    assert await AuditEntry.objects.exclude(phase="event").acount() == 0


async def test_by_post_only_and_with_the_token(anna, run, approver_user):
    assert (await anna.get(address(run))).status_code == 405
    strict = AsyncClient(enforce_csrf_checks=True)
    await strict.aforce_login(approver_user)
    assert (await strict.post(address(run), fields())).status_code == 403
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_no_such_action_and_no_such_workflow(anna, run):
    assert (await anna.post(address(run, "explode"), fields())).status_code == 404
    gone = reverse("action", args=["default", "gone-order", str(uuid.uuid4()), "approve"])
    response = await anna.post(gone, fields())
    assert response.status_code == 404
    assert "There is no workflow gone-order" in response.content.decode()


async def test_identity_is_the_logins_and_never_the_forms(anna, run):
    await anna.post(address(run), fields(actor="mallory", roles="admin", at="2001-01-01T00:00:00Z"))
    entry = await AuditEntry.objects.aget(phase="outcome")
    assert entry.detail.startswith("anna as approver")


async def test_temporal_away_keeps_the_text(anna):
    before, conf = connection._client, workers_conf()
    set_client(None)
    django_settings.WORKERS = conf.model_copy(update={"address": "127.0.0.1:1", "rpc_timeout": 0.5})
    try:
        url = reverse("action", args=["default", "order-1", str(uuid.uuid4()), "approve"])
        response = await anna.post(url, fields(reason="looks good"))
    finally:
        django_settings.WORKERS = conf
        set_client(before)
    assert response.status_code == 503
    assert "looks good</textarea>" in response.content.decode()


async def test_the_audit_page_lists_filters_and_pages(anna, run, admin_user):
    await anna.post(address(run), fields(reason="fine <b>"))
    ada = AsyncClient()
    await ada.aforce_login(admin_user)
    text = (await ada.get("/audit/", {"actor": "anna", "workflow": run.id})).content.decode()
    assert "fine &lt;b&gt;" in text
    assert reverse("workflow", args=["default", run.id]) in text
    assert "No action matches" in (await ada.get("/audit/", {"actor": "bob"})).content.decode()
    first = await AuditEntry.objects.exclude(phase="event").aearliest("id")
    older = (await ada.get("/audit/", {"before": str(first.pk)})).content.decode()
    assert run.id not in older
    for nonsense in ("-1", "x", "9" * 40, "²"):
        assert (await ada.get("/audit/", {"before": nonsense})).status_code == 200
