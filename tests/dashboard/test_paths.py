"""How far a request goes through the code: a filter of the list, from the URL to the row."""

from __future__ import annotations

import uuid

import pytest
from django.test import AsyncClient

from dashboard.live import cached_read
from tests.dashboard.factories import start_run
from tests.dashboard.paths import MOST_FILES, traced
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
    assert len(trace.files) <= MOST_FILES, trace.files
