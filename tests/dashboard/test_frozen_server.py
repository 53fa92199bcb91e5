"""Temporal accepts connections and answers nothing: every page has one budget of time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from django.test import AsyncClient
from temporalio.client import Client

from dashboard.live import cached_read
from dashboard.temporal_api import scan
from tests.dashboard.factories import start_run
from tests.support import HTMX, eventually
from tests.workers.client.proxy import Proxy, proxy
from workers.client.connection import connect, set_client
from workers.conf import conf

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT = 1.0  # seconds of TEMPORAL_RPC_TIMEOUT here
PAGES = ["", "workflows/", "approvals/", "breakers/", "workers/"]


@pytest.fixture
async def between(server: str, client: Client, settings) -> AsyncIterator[Proxy]:
    """A proxy before the server, through which the console of this test reaches it."""
    async with proxy(server) as made:
        settings.WORKERS = conf().model_copy(update={"address": made.address, "rpc_timeout": LIMIT})
        set_client(await connect())
        cached_read.forget()
        yield made
        set_client(client)
        cached_read.forget()


def expire(*, forget: bool) -> None:
    """No snapshot is fresh any more; `forget`: nor kept."""
    for key in cached_read._slots:
        slot = cached_read._slots.get(key)
        assert slot
        slot.fresh_until = 0.0
    for query in scan._last:
        scan._last.put(query, (0.0, scan._last.get(query)[1]))
    if forget:
        cached_read.forget()
        scan._last.clear()


@pytest.mark.parametrize("htmx", [False, True], ids=["page", "part"])
@pytest.mark.parametrize("seen", [False, True], ids=["never seen", "seen before"])
async def test_every_page_answers_in_time(between, client, queue, admin_user, seen, htmx) -> None:
    run = await start_run(client, queue, f"frozen-{queue}", waiting_for="approval")
    breaker = await start_run(
        client, queue, f"breaker-{queue}", workflow_type="BreakerWorkflow", circuit_state="OPEN"
    )
    browser, headers = AsyncClient(), HTMX if htmx else {}
    await browser.aforce_login(admin_user)
    pages = [f"/ns/default/{page}" for page in PAGES]
    pages.append(f"/ns/default/workflows/{run.id}/{run.first_execution_run_id}/")

    async def listed() -> bool:
        cached_read.forget()
        return f"breaker-{queue}" in (await browser.get("/ns/default/breakers/")).content.decode()

    await eventually(listed)
    for page in pages:  # the first request of each also compiles its templates
        assert (await browser.get(page, headers=headers)).status_code == 200, page
    expire(forget=not seen)
    between.flowing.clear()
    took = {}
    for page in pages:
        began = time.monotonic()
        answer = await browser.get(page, headers=headers)
        took[page] = time.monotonic() - began
        # A run that was never seen has nothing to show; all others say that this is not fresh.
        assert answer.status_code == (503 if page == pages[-1] and not seen else 200)
    between.flowing.set()
    for handle in (run, breaker):
        await handle.terminate()
    assert {page: seconds for page, seconds in took.items() if seconds > LIMIT + 1.5} == {}
