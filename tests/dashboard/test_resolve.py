"""A failed effect of an entity is resolved from its run page, on a real server."""

from __future__ import annotations

import uuid
from html import unescape

import pytest
from django.test import AsyncClient
from django.urls import reverse

from dashboard.live import cached_read
from dashboard.models import AuditEntry
from tests.dashboard.factories import start_run
from tests.dashboard.flows import Resolvable
from tests.dashboard.signed_forms import form_id
from tests.support import HTMX, eventually

pytestmark = pytest.mark.django_db(transaction=True)
TITLE = "Resolve a failed effect"


@pytest.fixture
async def operator(operator_user) -> AsyncClient:
    cached_read.forget()
    browser = AsyncClient()
    await browser.aforce_login(operator_user)
    return browser


async def test_it_is_offered_refused_without_evidence_and_decided(client, queue, worker, operator):
    async with worker(queue, workflows=[Resolvable]):
        name = f"account-{uuid.uuid4().hex[:8]}"
        started = await start_run(client, queue, name, workflow_type="Resolvable", waiting_for="operator")
        run = ["default", name, started.result_run_id]

        async def offered() -> bool:
            return TITLE in (await operator.get(reverse("run", args=run))).content.decode()

        await eventually(offered)
        url, made = reverse("action", args=[*run, "resolve"]), form_id("otto", name, started.result_run_id)
        fields = {"form_id": made, "step": "evt-7", "choice": "skip", "reason": "Agreed with Ada."}
        wrong = await operator.post(url, fields, headers=HTMX)
        text = unescape(wrong.content.decode())
        assert wrong.status_code == 422
        assert "Say what shows that it is right" in text
        assert "Agreed with Ada." in text
        assert 'value="evt-7"' in text

        done = await operator.post(url, {**fields, "evidence": "Credit note 12"}, headers=HTMX)
    text = unescape(done.content.decode())
    assert "Applied" in text, text
    assert f"Resolved {name}. evt-7: skip, Credit note 12, says otto." in text
    rows = [
        (row.action, row.phase, row.detail)
        async for row in AuditEntry.objects.exclude(phase="event").order_by("id")
    ]
    assert rows[0] == ("resolve", "intent", "evt-7: skip; evidence: Credit note 12")


async def test_it_is_not_offered_while_no_operator_is_waited_for(client, queue, worker, operator):
    async with worker(queue, workflows=[Resolvable]):
        started = await start_run(client, queue, f"account-{uuid.uuid4().hex}", workflow_type="Resolvable")
        address = reverse("run", args=["default", started.id, started.result_run_id])

        async def asked() -> str:
            text = (await operator.get(address)).content.decode()
            # It has no signal `cancel`: once that is known, Temporal's own cancellation is offered.
            return text if "Request cancellation" in text else ""

        assert TITLE not in await eventually(asked)
