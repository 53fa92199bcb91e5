"""How far a request goes through the code: a filter of the list, from the URL to the row; an action, from its
view to the verdict."""

from __future__ import annotations

import uuid

import pytest
from django.test import AsyncClient
from django.urls import reverse

from dashboard.live import cached_read
from tests.dashboard.factories import start_run
from tests.dashboard.flows import Decidable, foreign_worker
from tests.dashboard.paths import MOST_FILES, MOST_ROOMS, traced
from tests.dashboard.signed_forms import form_id
from tests.support import HTMX, eventually


@pytest.mark.django_db(transaction=True)
async def test_a_list_filter_goes_through_few_files(client, queue, viewer_user):
    name = f"path-{uuid.uuid4().hex[:8]}"
    wanted = {"type": "OrderWorkflow", "a": "WaitingFor", "op": "=", "v": "approval", "id": name}
    memo = {"customer_name": "Aster & Vale", "currency": "EUR"}
    more = {"workflow_type": "OrderWorkflow", "memo": memo, "stage": "approval", "waiting_for": "approval"}
    await start_run(client, queue, name, **more)
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)

    async def listed(**params: str) -> bool:
        cached_read.forget()
        response = await browser.get("/ns/default/workflows/", {**wanted, **params}, headers=HTMX)
        return name in response.content.decode()

    await eventually(listed)
    with traced() as trace:
        assert await listed()
    assert len(trace.files) <= MOST_FILES, "\n".join(trace.files)


@pytest.mark.django_db(transaction=True)
async def test_an_approve_goes_through_few_rooms_and_never_back(client, queue, async_client, approver_user):
    await async_client.aforce_login(approver_user)
    async with foreign_worker(client, queue):
        run = await client.start_workflow(Decidable.run, id=f"path-{uuid.uuid4().hex[:8]}", task_queue=queue)
        url = reverse("action", args=["default", run.id, run.first_execution_run_id, "approve"])
        with traced() as trace:
            response = await async_client.post(
                url, {"form_id": form_id("anna", run.id, run.first_execution_run_id)}, headers=HTMX
            )
    assert "Applied" in response.content.decode()
    # What makes a page of the verdict runs in a thread, which Python below 3.12 does not trace.
    assert trace.rooms[:5] == [
        "dashboard/actions",
        "dashboard",
        "dashboard/audit",
        "dashboard/temporal_api",
        "workers/payloads",
    ]
    assert len(trace.rooms) <= MOST_ROOMS
    assert len(set(trace.rooms)) == len(trace.rooms)
