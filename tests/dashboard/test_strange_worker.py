"""A worker with none of our code, in a process of its own: it gets every panel, every form and every verdict,
and what it says of secrets stays with it."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from django.test import AsyncClient
from django.urls import reverse
from temporalio.client import Client

from dashboard.formats import html_id
from dashboard.live import cached_read
from dashboard.models import AuditEntry
from tests.dashboard.signed_forms import form_id
from tests.support import HTMX, eventually
from workers.client.connection import has_pollers
from workers.conf import conf

pytestmark = pytest.mark.django_db(transaction=True)

PROGRAM = Path(__file__).with_name("strange_worker.py")
SECRET = "hunter-2-and-4111111111111111"


@pytest.fixture(scope="module")
def strange_queue(server):
    """The queue of the strange process, which ends with the tests of this file."""
    queue = f"strange-{uuid.uuid4().hex[:8]}"
    process = subprocess.Popen([sys.executable, str(PROGRAM), conf().address, conf().namespace, queue])
    try:
        yield queue
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture
async def stranger(client):
    """A client of theirs: ours would not send what is named like a secret."""
    return await Client.connect(conf().address, namespace=conf().namespace)


@pytest.fixture
async def strange(client, stranger, strange_queue):
    """A run of the strange workflow, with secrets in its input and its memo; its worker polls."""
    cached_read.forget()
    await eventually(lambda: has_pollers(client, strange_queue))
    dependency = f"weather-{uuid.uuid4().hex[:8]}"
    return await stranger.start_workflow(
        "Strange",
        {"password": SECRET, "dependency": dependency, "text": f"api_key={SECRET}"},
        id=f"strange/{dependency}",
        task_queue=strange_queue,
        memo={"api_key": SECRET, "note": f"password: {SECRET}"},
    )


@pytest.fixture
async def people(operator_user, approver_user, admin_user, viewer_user):
    """A browser for each role."""
    users = {"operator": operator_user, "approver": approver_user, "admin": admin_user, "viewer": viewer_user}
    browsers = {role: AsyncClient() for role in users}
    for role, user in users.items():
        await browsers[role].aforce_login(user)
        browsers[role].user_name = user.username
    return browsers


def page_of(run) -> str:
    return reverse("run", args=["default", run.id, run.result_run_id])


async def until(browser, url: str, *words: str) -> str:
    """The page, once it has these words: answers may come after the first paint."""

    async def has():
        cached_read.forget()
        response = await browser.get(url)
        assert response.status_code == 200, response.content.decode()
        text = unescape(response.content.decode())
        return text if all(word in text for word in words) else None

    return await eventually(has)


async def act(browser, run, name: str, **fields: str) -> str:
    """Press a button of the page as htmx does; what the person is told."""
    fields.setdefault("form_id", form_id(browser.user_name, run.id, run.result_run_id))

    async def sent():
        url = reverse("action", args=["default", run.id, run.result_run_id, name])
        response = await browser.post(url, fields, headers={"HX-Request": "true"})
        assert response.status_code == 200, response.content.decode()
        text = unescape(response.content.decode())
        # The same decision again gets the same answer, so asking until the worker has answered is safe.
        return None if "Sent, not confirmed yet" in text else text

    return re.sub(r"<[^>]+>|\s+", " ", await eventually(sent))


async def test_it_gets_every_panel(people, strange):
    text = await until(
        people["viewer"], page_of(strange), "It does everything at once.", "A strange payout", "Stuck"
    )

    for title in ("Saga", "Approval", "Breaker", "Progress", "State"):
        assert f'aria-label="{title}"' in text
    assert "€310.40" in text
    assert "20.00 CHF" in text
    assert 'aria-label="Side by side: pay"' in text
    assert reverse("workflow", args=["default", "booking/of strangers"]) in text
    assert "<b>board</b> may decide too" in text
    assert "10 of 40" in text
    assert "a minute so far" in text
    assert "<b>60%</b>" in text
    assert "opens at 50%" in text
    assert "12 of 20 calls failed within 5 min" in text
    assert "Opened 3 times in a row" in text


async def test_what_it_declares_gets_a_form(people, strange):
    text = await until(people["operator"], page_of(strange), "Operate this breaker", "Delegate my vote")

    for name in (
        "force_open",
        "force_close",
        "release",
        "probe",
        "pause",
        "withdraw",
        "delegate",
        "resolve_compensation",
    ):
        url = reverse("action", args=["default", strange.id, strange.result_run_id, name])
        assert f'formaction="{url}"' in text
    assert "/action/unpause/" not in text
    assert "Only who asked" not in text
    assert "The requester (ada) may withdraw it, and those who could vote." in text
    assert "Your role may not delegate a vote." in text


async def test_votes_are_handed_on_counted_and_told_on_whose_behalf(people, strange):
    told = await act(people["approver"], strange, "delegate", to="otto", reason="On holiday.")
    assert "Applied" in told
    assert "otto votes instead." in told
    await until(people["operator"], page_of(strange), "delegated to <b>otto</b>: On holiday.")
    assert "Counted." in await act(people["admin"], strange, "approve")
    status = await strange.query("get_approval_status")
    assert [vote["actor"] for vote in status["votes"]] == ["ada"]
    assert status["delegations"][0]["actor"] == "anna"


async def test_only_who_asked_may_withdraw(people, strange):
    refused = await act(people["operator"], strange, "withdraw", reason="No longer needed.")
    assert "Refused" in refused
    assert "Only ada asked." in refused
    assert "Taken back." in await act(people["admin"], strange, "withdraw", reason="No longer needed.")
    await until(people["viewer"], page_of(strange), "Withdrawn")


async def test_a_batch_is_paused_and_goes_on(people, strange):
    assert "It pauses." in await act(people["operator"], strange, "pause", reason="Month end.")
    text = await until(people["operator"], page_of(strange), "Paused", "Pause and resume")
    assert "/action/pause/" not in text
    assert "It goes on." in await act(people["operator"], strange, "unpause")


async def test_a_breaker_is_forced_until_a_time_and_released(people, strange):
    before = datetime.now(UTC)
    told = await act(people["operator"], strange, "force_close", reason="Their page is wrong.", duration="60")
    assert "Forced closed." in told
    forced = (await strange.query("get_circuit_status"))["forced"]
    until_then = datetime.fromisoformat(forced["until"])
    assert timedelta(hours=1) <= until_then - before < timedelta(hours=1, minutes=5)
    assert forced["by"] == "otto"
    text = await until(people["operator"], page_of(strange), "Forced closed", "Their page is wrong.")
    assert "Forced closed by otto" in text
    assert "Back to its own rule." in await act(people["operator"], strange, "release", reason="Over.")
    assert "It is not forced." in await act(people["operator"], strange, "release", reason="Over.")
    assert "Forced open." in await act(people["admin"], strange, "force_open", reason="Stop.", duration="15")
    told = await act(people["operator"], strange, "probe", workflow_id="order-7", reason="Try.")
    assert "Probing with order-7." in told
    rows = [
        (row.action, row.phase, row.outcome, row.detail)
        async for row in AuditEntry.objects.exclude(phase="event").order_by("id")
    ]
    assert rows[0][:3] == ("force_close", "intent", "")
    assert rows[0][3] == f"until {until_then:%Y-%m-%d %H:%M:%S} UTC"
    assert rows[1] == ("force_close", "outcome", "applied", "Forced closed.")
    assert ("probe", "intent", "", "by order-7") in rows


async def test_the_breakers_page_has_its_card_with_the_form_and_the_region_has_none(people, strange):
    card_id = html_id(strange.id)
    card = f'id="{card_id}"'
    text = await until(people["operator"], "/ns/default/breakers/", card, "Operate this breaker")
    assert f'id="actions-{card_id}" hx-morph-skip><details' in text
    region = unescape((await people["operator"].get("/ns/default/breakers/", headers=HTMX)).content.decode())
    assert f'id="actions-{card_id}" hx-morph-skip></div>' in region
    looking = await until(people["viewer"], "/ns/default/breakers/", card, "Operate this breaker")
    assert "Your role may not operate breakers." in looking


async def test_a_stuck_step_is_resolved_and_it_is_cancelled(people, strange):
    told = await act(
        people["operator"],
        strange,
        "resolve_compensation",
        step="charge",
        choice="skip",
        reason="Paid by hand.",
        evidence="Transfer 12",
    )
    assert "charge: skip." in told
    assert "It stops." in await act(people["operator"], strange, "cancel", reason="Enough.")


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("force_open", {"reason": " ", "duration": "240"}, "A reason is needed"),
        ("force_open", {"reason": "kept <b>", "duration": "99999"}, "Choose how long"),
        ("force_close", {"reason": "kept <b>"}, "Choose how long"),
        ("delegate", {"reason": "kept <b>", "to": " "}, "Name the person"),
        ("delegate", {"reason": "kept <b>", "to": "Ada"}, "That is yourself"),
        ("probe", {"reason": "kept <b>", "workflow_id": "x" * 1001}, "cannot be the id"),
        ("withdraw", {"reason": ""}, "A reason is needed"),
        ("pause", {"reason": ""}, "A reason is needed"),
        (
            "resolve_compensation",
            {"reason": "kept <b>", "step": "charge", "choice": "skip"},
            "Say what shows that it is right",
        ),
    ],
)
async def test_a_mistake_is_told_and_nothing_is_lost_or_sent(people, strange, name, fields, said):
    url = reverse("action", args=["default", strange.id, strange.result_run_id, name])
    response = await people["admin"].post(
        url, {"form_id": form_id("ada", strange.id, strange.result_run_id), **fields}
    )
    text = response.content.decode()
    assert response.status_code == 422
    assert said in text
    if fields["reason"].strip():
        assert "kept &lt;b&gt;</textarea>" in text
    if fields.get("duration") == "240":
        assert '<option value="240" selected>' in text
    assert await AuditEntry.objects.exclude(phase="event").acount() == 0


async def test_a_secret_is_on_no_page_and_not_in_the_audit(people, stranger, strange, strange_queue):
    browser = people["admin"]
    await act(browser, strange, "approve", reason=f"I saw password: {SECRET} there")
    await act(browser, strange, "pause", reason=f'{{"api_key": "{SECRET}"}}')
    await act(
        browser,
        strange,
        "resolve_compensation",
        step="charge",
        choice="settled_outside",
        reason="r",
        evidence=f"ssn={SECRET}",
    )
    url = page_of(strange)
    text = await until(
        browser, url, "It does everything at once.", "A strange payout", '"credit_card": "[redacted]"'
    )
    names = ("overview", "workflows", "approvals", "breakers", "workers")
    addresses = [url, "/audit/", *(reverse(name, args=["default"]) for name in names)]
    approvals = reverse("approvals", args=["default"])
    addresses += [f"{approvals}?w={strange.id}", f"{approvals}?part=chosen&w={strange.id}"]
    pages: dict[str, str] = {}
    for address in addresses:
        for headers in ({}, HTMX):
            response = await browser.get(address, headers=headers)
            assert response.status_code == 200
            pages[address] = pages.get(address, "") + response.content.decode()
    for address, found in {url: text, **pages}.items():
        assert SECRET not in found, address
    assert "I saw password: [redacted]" in pages["/audit/"]
    assert [row async for row in AuditEntry.objects.all() if SECRET in f"{row.reason}{row.detail}"] == []
    for how, words in (("end", "Result"), ("fail", "The gateway said")):
        run = await stranger.start_workflow(
            "Strange",
            {"password": SECRET},
            id=f"{strange.id}-{how}",
            task_queue=strange_queue,
        )
        await run.signal("finish", how)
        closed = await until(browser, page_of(run), words, "[redacted]")
        assert SECRET not in closed
