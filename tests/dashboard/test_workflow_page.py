"""The page of one run: described exactly, its history in sentences, and friendly when something is
missing."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from html import unescape

import pytest
from django.test import AsyncClient
from django.urls import reverse
from temporalio.worker import Worker

from dashboard.conf import conf as console_conf
from dashboard.live import cached_read
from dashboard.temporal_api import history
from tests.dashboard.factories import CannedAnswers, start_run
from tests.dashboard.fake_workers import Faulty, Silent
from tests.support import HTMX, eventually
from workers.client import connection
from workers.conf import conf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def browser(client, viewer_user):
    cached_read.forget()
    made = AsyncClient()
    await made.aforce_login(viewer_user)
    return made


@pytest.fixture
def workflow_id() -> str:
    return f"run-{uuid.uuid4().hex[:8]}"


async def text_of(browser, handle, **headers: str) -> str:
    """The page of a run as a person reads it, or as htmx asks for it."""
    cached_read.forget()
    response = await browser.get(
        reverse("run", args=["default", handle.id, handle.result_run_id]), headers=headers
    )
    assert response.status_code == 200, response.content.decode()
    return unescape(response.content.decode())


async def test_the_id_alone_leads_to_the_newest_run(client, queue, browser, workflow_id):
    await (await start_run(client, queue, workflow_id)).terminate()
    newer = await start_run(client, queue, workflow_id)

    response = await browser.get(reverse("workflow", args=["default", workflow_id]))

    assert response.status_code == 302
    assert response.headers["Location"] == reverse("run", args=["default", workflow_id, newer.result_run_id])


@pytest.mark.parametrize("run_id", ["", "9a8a4f62-6a1e-4c63-9a44-000000000000", "not-a-run-id", "🚂"])
async def test_an_unknown_workflow_or_run_is_a_friendly_404(client, queue, browser, workflow_id, run_id):
    await start_run(client, queue, workflow_id)
    args = [workflow_id, run_id] if run_id else [f"{workflow_id}-unknown"]

    response = await browser.get(reverse("run" if run_id else "workflow", args=["default", *args]))

    assert response.status_code == 404
    assert f'href="{reverse("workflows", args=["default"])}"' in response.content.decode()


@pytest.mark.parametrize("odd", ["a/b/c", "🚂 train", 'it\'s "odd" <b>&', "..", "100%25", "a?b=c#d"])
async def test_unusual_ids_work(client, queue, browser, odd):
    handle = await start_run(client, queue, f"{uuid.uuid4().hex[:8]}/{odd}")

    text = await text_of(browser, handle)
    moved = await browser.get(reverse("workflow", args=["default", handle.id]))

    assert handle.id in text
    assert moved.status_code == 302


async def test_without_a_worker_the_page_comes_and_says_so(client, queue, browser, workflow_id):
    handle = await start_run(
        client, queue, workflow_id, waiting_for="approval", memo={"customer_name": "Aster"}
    )

    text = await text_of(browser, handle)

    assert "No worker answers" in text
    assert queue in text
    assert "Aster" in text
    assert "Started" in text
    assert "approval" in text


async def test_the_region_has_the_forms_under_an_id_that_changes_with_the_offer(
    client, queue, browser, workflow_id
):
    handle = await start_run(client, queue, workflow_id)
    ids = [
        re.findall(
            r'id="(decide-[0-9a-f]{12})" data-forms hx-morph-skip', await text_of(browser, handle, **how)
        )
        for how in ({}, HTMX)
    ]
    assert len(ids[0]) == 1
    assert ids[0] == ids[1]
    await handle.terminate()

    async def closed():
        cached_read.forget()
        text = await text_of(browser, handle, **HTMX)
        return 'id="decide-none"' in text and "<form" not in text

    await eventually(closed)


async def test_a_viewer_sees_why_the_buttons_are_off(client, queue, browser, workflow_id):
    handle = await start_run(client, queue, workflow_id, waiting_for="approval")

    text = await text_of(browser, handle)

    buttons = re.findall(r"<button class=\"btn (?:go|stop)\"[^>]*>", text)
    assert len(buttons) == 3
    assert all(" disabled" in button for button in buttons)
    assert "Your role may not approve." in text


async def test_a_closed_run_shows_input_and_result_and_offers_no_act(
    client, queue, browser, worker, workflow_id
):
    async with worker(queue, workflows=[Silent]):
        handle = await client.start_workflow(
            "Silent", {"note": "<script>alert(1)</script>"}, id=workflow_id, task_queue=queue
        )
        await handle.result()
        cached_read.forget()
        response = await browser.get(reverse("run", args=["default", workflow_id, handle.result_run_id]))

    raw = response.content.decode()
    assert "It has completed." in raw
    assert raw.count("&lt;script&gt;alert(1)") == 2
    assert "<script>alert" not in raw
    assert 'id="decide-none"' in raw
    assert "/action/" not in raw
    assert "Completed" in raw


async def test_huge_and_unreadable_input_is_capped_and_told(client, queue, browser, workflow_id):
    from temporalio.api.common.v1 import Payload
    from temporalio.common import RawValue

    odd = RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"0123456789"))
    handle = await client.start_workflow(
        "Nobody", args=["x" * 100_000, odd], id=workflow_id, task_queue=queue, memo={"long": "y" * 5000}
    )

    text = await text_of(browser, handle)

    assert "more characters" in text
    assert "unreadable: binary/encrypted, 10 bytes" in text
    assert len(text) < 40_000


async def test_history_is_told_in_sentences_with_whoever_interfered(
    client, queue, browser, worker, workflow_id
):
    async with worker(queue, workflows=[CannedAnswers]):
        handle = await start_run(client, queue, workflow_id)
        await handle.signal("go")
        await handle.result()
        text = await text_of(browser, handle)

    lines = re.findall(r'<td class="lead">([^<]*)</td>', text)
    assert lines[0] == "Completed"
    assert "Signal received" in lines
    assert lines[-1] == "Started"
    assert "go, from" in text


async def test_a_run_of_another_tenant_does_not_exist(
    client, queue, browser, workflow_id, settings, viewer_user
):
    from asgiref.sync import sync_to_async
    from django.contrib.auth.models import Group

    settings.DASHBOARD = console_conf().model_copy(update={"tenancy": "attribute"})
    group = await sync_to_async(Group.objects.create)(name="tenant:acme")
    await viewer_user.groups.aadd(group)
    own = await start_run(client, queue, f"{workflow_id}-own", tenant="acme")
    other = await start_run(client, queue, f"{workflow_id}-other", tenant="rival")
    cached_read.forget()

    shown = ["default", other.id, other.result_run_id]
    for name, args, headers in (("workflow", shown[:2], {}), ("run", shown, {}), ("run", shown, HTMX)):
        response = await browser.get(reverse(name, args=args), headers=headers)
        assert response.status_code == 404, name
        assert "rival" not in response.content.decode()
    assert (await browser.get(reverse("run", args=["default", own.id, own.result_run_id]))).status_code == 200


async def test_temporal_away_keeps_the_last_state_with_its_age(client, queue, browser, workflow_id, settings):
    handle = await start_run(client, queue, workflow_id, stage="charging")
    await text_of(browser, handle)
    settings.WORKERS = conf().model_copy(update={"address": "127.0.0.1:1"})
    connection.set_client(None)
    for slot in map(cached_read._slots.get, cached_read._slots):
        slot.fresh_until = 0.0
    try:
        gone = await browser.get(reverse("run", args=["default", handle.id, handle.result_run_id]))
        never = await browser.get(reverse("run", args=["default", "never-seen", handle.result_run_id]))
    finally:
        connection.set_client(client)

    text = gone.content.decode()
    assert gone.status_code == 200
    assert "Temporal is unreachable" in text
    assert "What you see is from" in text
    assert workflow_id in text
    assert never.status_code == 503


async def test_after_continue_as_new_both_runs_lead_on(client, queue, browser, worker, workflow_id):
    from tests.dashboard.flows import Decidable

    async with worker(queue, workflows=[Decidable]):
        first = await client.start_workflow(
            "Decidable", id=workflow_id, task_queue=queue, execution_timeout=timedelta(minutes=5)
        )
        await first.signal("go", "roll")

        async def rolled():
            newest = await client.get_workflow_handle(workflow_id).describe()
            return newest.run_id if newest.run_id != first.result_run_id else None

        newest = await eventually(rolled)
        old = await text_of(browser, first)
        cached_read.forget()
        new = (await browser.get(reverse("run", args=["default", workflow_id, newest]))).content.decode()

    assert f'href="{reverse("workflow", args=["default", workflow_id])}">newest run' in old
    assert "It continued as a newer run." in old
    assert first.result_run_id in new


async def test_a_signal_names_whoever_decided(client, queue, browser, workflow_id):
    handle = await start_run(client, queue, workflow_id)
    await handle.signal("approve", {"actor": "Mara Lind", "reason": "<b>known"})

    cached_read.forget()
    raw = (
        await browser.get(reverse("run", args=["default", handle.id, handle.result_run_id]))
    ).content.decode()

    assert "approve by Mara Lind: &lt;b&gt;known" in raw


async def test_a_workflow_task_that_fails_is_no_failed_workflow_and_no_missing_worker(
    client, queue, browser, workflow_id
):
    handle = await client.start_workflow("Faulty", "amount", id=workflow_id, task_queue=queue)
    async with Worker(client, task_queue=queue, workflows=[Faulty]):

        async def failing():
            text = await text_of(browser, handle)
            return text if "Workflow code fails" in text and "Workflow task failed" in text else None

        text = await eventually(failing)
    assert "Workflow failed" not in text
    assert "continues once a worker polls" not in text
    assert "No worker answers" not in text


async def test_what_is_cut_from_a_history_has_numbers(client, queue, browser, workflow_id, monkeypatch):
    handle = await start_run(client, queue, workflow_id)
    for _ in range(30):
        await handle.signal("go")

    assert "are not shown" not in await text_of(browser, handle)
    monkeypatch.setattr(history, "READ", 20)  # of 32 events
    found = await history.read_history(client, workflow_id, str(handle.result_run_id))
    assert [line.number for line in found.lines] == [*range(32, 12, -1), 1]
    assert (found.hidden, found.unread) == ((2, 12), 11)
    monkeypatch.setattr(history, "SHOWN", 10)
    assert "Events 1 to 22 are not shown." in await text_of(browser, handle)
