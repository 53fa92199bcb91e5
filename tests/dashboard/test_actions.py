"""The forms that decide: what each answer of the workflow, and each mistake, looks like to the person."""

from __future__ import annotations

import re
import uuid
from html import unescape

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.test import AsyncClient
from django.urls import reverse

from dashboard.access import Forbidden, Hidden
from dashboard.actions import limits
from dashboard.actions import view as action_view
from dashboard.audit import log
from dashboard.errors import Closed, NotRecorded, NotTaken, OutcomeUnknown, TooMany
from dashboard.models import AuditEntry
from dashboard.temporal_api import answers, decisions
from dashboard.temporal_api.answers import RunAnswers
from devtools.management.commands.demo_users import person
from tests.dashboard.factories import start_run
from tests.dashboard.flows import Decidable, foreign_worker
from tests.dashboard.signed_forms import form_id
from tests.support import HTMX, eventually
from workers.client import connection
from workers.client.connection import set_client
from workers.client.errors import RunNotFound, TemporalUnavailable
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


def fields(run, name="anna", **more):
    return {"form_id": form_id(name, run.id, run.first_execution_run_id), "reason": "", **more}


async def test_approve_goes_back_to_the_run_with_the_answer(anna, run):
    response = await anna.post(address(run), fields(run, reason="fine"))
    assert response.status_code == 303
    assert response["Location"] == reverse("run", args=["default", run.id, run.first_execution_run_id])
    (message,) = get_messages(response.asgi_request)
    assert str(message).startswith(f"Approved {run.id}.")
    assert message.level_tag == "success"


async def test_or_to_where_the_form_was(anna, run):
    assert (await anna.post(address(run), fields(run, next="/approvals/")))["Location"] == "/approvals/"
    elsewhere = await anna.post(address(run), fields(run, next="https://evil.example/"))
    assert elsewhere["Location"].startswith("/ns/default/workflows/")


async def test_htmx_gets_the_verdict_as_a_fragment(anna, run):
    response = await anna.post(address(run), fields(run), headers=HTMX)
    text = response.content.decode()
    assert response.status_code == 200
    assert "Applied" in text
    assert "<html" not in text


async def test_a_reject_without_a_reason_keeps_the_form(anna, run):
    sent = fields(run, reason="   ", next="/approvals/")
    response = await anna.post(address(run, "reject"), sent)
    text = response.content.decode()
    assert response.status_code == 422
    assert "A reason is needed" in text
    assert 'aria-invalid="true"' in text
    assert sent["form_id"] in text
    assert 'value="/approvals/"' in text


async def test_a_reason_that_is_too_long_is_kept_to_be_shortened(anna, run):
    response = await anna.post(address(run), fields(run, reason="<b>" + "x" * 2100))
    text = response.content.decode()
    assert response.status_code == 422
    assert "At most 2000 characters" in text
    assert "&lt;b&gt;" + "x" * 2100 in text
    assert await AuditEntry.objects.exclude(phase="event").acount() == 0


async def test_a_form_comes_back_whole(anna, run):
    """All its buttons, and what is offered on the run now; here only cancel, as its approval has expired."""
    sent = fields(run, actions="cancel pause", reason="")
    ada = AsyncClient()
    await ada.aforce_login((await sync_to_async(person)("ada", ("admin",)))[0])
    sent["form_id"] = form_id("ada", run.id, run.first_execution_run_id)
    response = await ada.post(address(run, "cancel"), sent, headers=HTMX)
    text = response.content.decode()
    assert response.status_code == 422
    assert address(run, "cancel") in text
    assert address(run, "pause") not in text
    assert "<html" not in text


async def test_after_the_end_every_button_of_the_form_is_off(anna, run):
    await run.signal("go", "end")
    await run.result()
    response = await anna.post(address(run, "reject"), fields(run, actions="approve reject", reason="late"))
    text = response.content.decode()
    assert response.status_code == 409
    assert "Approve: The workflow is closed." in text
    assert "Reject: The workflow is closed." in text
    assert "late</textarea>" in text


async def test_an_outcome_that_the_contract_does_not_have_is_shown_by_its_name(anna, run, monkeypatch):
    async def odd(*_):
        return Verdict(outcome="accepted_partly", detail="We took it.")

    monkeypatch.setattr(decisions, "_verdict", odd)
    response = await anna.post(address(run), fields(run), headers=HTMX)
    assert response.status_code == 200
    text = response.content.decode()
    assert "Accepted partly" in text
    assert "an outcome that this console does not know. We took it." in text


async def test_two_people(anna, run, admin_user):
    await anna.post(address(run), fields(run))
    ada = AsyncClient()
    await ada.aforce_login(admin_user)
    response = await ada.post(address(run, "reject"), fields(run, "ada", reason="late"), headers=HTMX)
    assert "decided already by anna" in response.content.decode()


async def test_a_closed_workflow_is_a_conflict(anna, run):
    await anna.post(address(run), fields(run))
    await run.signal("go", "end")
    await run.result()
    response = await anna.post(address(run, "reject"), fields(run, reason="late"))
    text = response.content.decode()
    assert response.status_code == 409
    assert "closed already: Completed" in text
    assert "decided already by anna" in text
    assert "late</textarea>" in text


async def test_a_role_that_may_not(anna, run):
    response = await anna.post(address(run, "cancel"), fields(run, reason="no"))
    assert response.status_code == 403
    assert "operator or admin" in response.content.decode()
    assert await AuditEntry.objects.exclude(phase="event").acount() == 0


async def test_by_post_only_and_with_the_token(anna, run, approver_user):
    assert (await anna.get(address(run))).status_code == 405
    strict = AsyncClient(enforce_csrf_checks=True)
    await strict.aforce_login(approver_user)
    assert (await strict.post(address(run), fields(run))).status_code == 403
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_no_such_action_and_no_such_workflow(anna, run):
    assert (await anna.post(address(run, "explode"), fields(run))).status_code == 404
    gone = reverse("action", args=["default", "gone-order", str(uuid.uuid4()), "approve"])
    response = await anna.post(gone, fields(run))
    assert response.status_code == 404
    assert "There is no workflow gone-order" in response.content.decode()


async def test_identity_is_the_logins_and_never_the_forms(anna, run):
    await anna.post(address(run), fields(run, actor="mallory", roles="admin", at="2001-01-01T00:00:00Z"))
    entry = await AuditEntry.objects.aget(phase="outcome")
    assert entry.detail.startswith("anna as approver")


async def test_temporal_away_keeps_the_text(anna):
    before, conf = connection._client, workers_conf()
    set_client(None)
    django_settings.WORKERS = conf.model_copy(update={"address": "127.0.0.1:1", "rpc_timeout": 0.5})
    try:
        url = reverse("action", args=["default", "order-1", str(uuid.uuid4()), "approve"])
        sent = {"form_id": form_id("anna", "order-1"), "reason": "looks good"}
        response = await anna.post(url, sent)
    finally:
        django_settings.WORKERS = conf
        set_client(before)
    assert response.status_code == 503
    assert "looks good</textarea>" in response.content.decode()


async def test_the_audit_page_lists_filters_and_pages(anna, run, admin_user):
    await anna.post(address(run), fields(run, reason="fine <b>"))
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


FAILURES = {
    "closed": (Closed("Completed"), 409, "closed already: Completed"),
    "not taken": (NotTaken("Foreign", "approve", known=True, missing=""), 409, "does not take the signal"),
    "too many": (TooMany(20, 7), 429, "Send it again in 7 s."),
    "no permission": (Forbidden("Your role may not approve."), 403, "Your role may not approve."),
    "another tenant": (Hidden("hidden"), 404, "There is no workflow"),
    "no such run": (RunNotFound("gone"), 404, "There is no workflow"),
    "Temporal away": (TemporalUnavailable("Temporal is away."), 503, "Temporal is away."),
    "no audit": (NotRecorded(), 503, "so nothing was sent"),
    "no database": (OperationalError("locked"), 503, "The database refuses, so nothing was sent"),
    "an error": (ValueError("odd"), 500, "before anything was sent"),
    "an error while it is sent": (OutcomeUnknown(), 500, "Send it again: it counts once"),
}


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
@pytest.mark.parametrize("what", FAILURES)
async def test_whatever_fails_is_said_in_the_form_and_what_was_typed_is_kept(
    anna, run, monkeypatch, what, headers
):
    error, status, words = FAILURES[what]

    async def failing(*_, **__):
        raise error

    monkeypatch.setattr(action_view, "decide", failing)
    sent = fields(run, reason="typed <b>", actions="approve reject", next="/approvals/")
    response = await anna.post(address(run), sent, headers=headers)
    text = unescape(response.content.decode())
    assert response.status_code == status
    assert words in text
    assert ("Not known" if "while" in what else "Not done") in text
    assert "typed <b></textarea>" in text
    assert address(run, "reject") in text
    assert sent["form_id"] in text
    assert 'value="/approvals/"' in text
    assert "HX-Reswap" not in response
    assert ("<html" in text) == (not headers)
    assert (response.get("Retry-After") is not None) == (status in (429, 503))


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
async def test_after_the_session_has_ended_the_form_waits_for_a_login(anna, run, headers):
    sent = fields(run, reason="typed <b>", next="/approvals/")
    await anna.alogout()
    response = await anna.post(address(run), sent, headers=headers)
    text = unescape(response.content.decode())
    assert response.status_code == 401
    assert "You are signed out, so nothing was sent." in text
    assert "typed <b></textarea>" in text
    assert 'href="/login/?next=%2Fapprovals%2F" target="_blank"' in text
    assert "HX-Redirect" not in response


async def test_the_form_that_waited_for_a_login_is_sent_as_it_was(run, approver_user):
    browser = AsyncClient(enforce_csrf_checks=True)
    await browser.aforce_login(approver_user)
    shown = reverse("run", args=["default", run.id, run.first_execution_run_id])
    token = re.findall(r'"X-CSRFToken": "([^"]+)"', (await browser.get(shown)).content.decode())[0]
    sent = fields(run, reason="typed", csrfmiddlewaretoken=token)
    browser.cookies.pop("sessionid")
    waiting = await browser.post(address(run), sent)
    assert waiting.status_code == 401
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', waiting.content.decode())
    await browser.aforce_login(approver_user)
    response = await browser.post(address(run), {**dict(hidden), "reason": "typed"}, headers=HTMX)
    assert "Approved" in response.content.decode()


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
async def test_a_token_of_before_the_login_gets_the_form_with_a_new_one(run, approver_user, headers):
    strict = AsyncClient(enforce_csrf_checks=True)
    await strict.aforce_login(approver_user)
    sent = fields(run, reason="typed <b>", csrfmiddlewaretoken="x" * 64)
    response = await strict.post(address(run), sent, headers=headers)
    text = unescape(response.content.decode())
    assert response.status_code == 403
    assert "this form is older than your login" in text
    assert "typed <b></textarea>" in text
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)[0]
    again = await strict.post(address(run), {**sent, "csrfmiddlewaretoken": token}, headers=HTMX)
    assert "Approved" in again.content.decode()


async def test_a_form_of_another_site_is_not_shown_again(run, approver_user):
    strict = AsyncClient(enforce_csrf_checks=True)
    await strict.aforce_login(approver_user)
    sent = {"form_id": "x:forged", "reason": "send this, please"}
    for headers in ({}, HTMX):
        response = await strict.post(address(run), sent, headers=headers)
        assert response.status_code == 403
        assert "send this, please" not in response.content.decode()
        assert response.get("HX-Reswap") == ("afterbegin" if headers else None)


async def test_an_error_after_it_was_sent_is_not_told_as_not_done(anna, run, monkeypatch):
    def full(*_, **__):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(action_view.messages, "add_message", full)
    sent = fields(run, reason="typed")
    response = await anna.post(address(run), sent)
    text = response.content.decode()
    assert response.status_code == 503
    assert "Not known" in text
    assert "Send it again: it counts once." in text
    again = await anna.post(address(run), sent, headers=HTMX)
    assert "Approved" in again.content.decode()
    assert (await run.query(Decidable.get_approval_status))["votes"] == [{"actor": "anna"}]


async def test_a_forged_id_gets_a_form_that_works(anna, run):
    response = await anna.post(address(run), {"form_id": "x:forged", "reason": "typed"}, headers=HTMX)
    text = response.content.decode()
    assert response.status_code == 422
    assert "made for another person or another workflow" in text
    assert "typed</textarea>" in text
    again = re.findall(r'name="form_id" value="([^"]+)"', text)[0]
    response = await anna.post(address(run), {"form_id": again}, headers=HTMX)
    assert "Approved" in response.content.decode()


async def test_a_decision_without_a_verdict_leads_back_to_its_result(anna, client, queue):
    name = f"flow-{uuid.uuid4().hex}"
    run = await start_run(client, queue, name, workflow_type="Decidable", waiting_for="approval")
    url = reverse("action", args=["default", name, run.result_run_id, "approve"])
    sent = {"form_id": form_id("anna", name, run.result_run_id), "reason": "fine"}
    text = unescape((await anna.post(url, sent, headers=HTMX)).content.decode())
    assert "It is kept, and the workflow decides on it once one does." in text
    result = re.findall(r'href="([^"]+)" hx-get', text)[0]
    assert (await anna.post(url, sent))["Location"] == result
    assert "Sent, not confirmed yet" in (await anna.get(result)).content.decode()
    async with foreign_worker(client, queue):

        async def answered():
            text = (await anna.get(result)).content.decode()
            return f"Approved {name}. anna as approver: fine" in text

        await eventually(answered)
        assert "Look for the result" not in (await anna.get(result)).content.decode()


async def test_choices_survive_while_temporal_is_away(anna, run, monkeypatch):
    """A select of stuck steps stays one, for viewers who were shown the run."""
    saga = {"state": "stuck", "steps": [{"name": "charge", "status": "stuck"}]}
    known = RunAnswers()
    known.put("get_saga_status", saga)
    answers._known.put(("default", run.id, run.first_execution_run_id), known)

    async def away(*_, **__):
        raise TemporalUnavailable("Temporal is away.")

    monkeypatch.setattr(action_view, "decide", away)
    url = address(run, "resolve_compensation")
    text = (await anna.post(url, fields(run, step="charge"))).content.decode()
    assert '<option value="charge" selected>' in text
    forged = (await anna.post(url, {"form_id": "forged", "step": "charge"})).content.decode()
    assert '<option value="charge"' not in forged


async def test_a_database_that_refuses_the_audit_sends_nothing(anna, run, monkeypatch):
    def locked(**_):
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(log, "append", locked)
        response = await anna.post(address(run), fields(run, reason="typed"))
    text = response.content.decode()
    assert response.status_code == 503
    assert "The audit log cannot be written, so nothing was sent." in text
    assert "typed</textarea>" in text
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_above_the_limit_the_text_is_kept_and_the_wait_is_said(anna, run, monkeypatch):
    monkeypatch.setattr(limits, "MOST", 0)
    response = await anna.post(address(run), fields(run, reason="typed"))
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= limits.WINDOW
    assert "typed</textarea>" in response.content.decode()
    assert (await run.query(Decidable.get_approval_status))["votes"] == []
