"""Runs that no page expects: long ids of any script, odd values, names that templates trip over."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.test import AsyncClient
from django.urls import reverse

from dashboard import extend
from dashboard.audit import log
from dashboard.extend import Money, Pipeline, Stage
from dashboard.live import cached_read
from dashboard.pages.workflows import table
from dashboard.temporal_api.rows import read_rows
from tests.dashboard.factories import CannedAnswers, start_run
from tests.dashboard.test_rows import info, payload
from tests.support import HTMX, eventually

pytestmark = pytest.mark.django_db(transaction=True)
SCRIPTS = {"han": "你", "emoji": "🚂", "slashes": "/", "percent": "%"}
LONGEST = 1000  # bytes: what Temporal takes


def long_id(letter: str) -> str:
    start = uuid.uuid4().hex[:12]
    return start + letter * ((LONGEST - len(start)) // len(letter.encode()))


@pytest.fixture
async def operator(operator_user):
    browser = AsyncClient()
    await browser.aforce_login(operator_user)
    return browser


@pytest.mark.parametrize("letter", SCRIPTS.values(), ids=SCRIPTS)
async def test_a_long_id_takes_no_page(client, queue, operator, letter):
    workflow_id = long_id(letter)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    handle = await start_run(
        client, queue, workflow_id, workflow_type="OrderWorkflow", waiting_for="approval", deadline=soon
    )
    address = reverse("run", args=["default", workflow_id, handle.first_execution_run_id])
    try:

        async def listed() -> bool:
            cached_read.forget()
            found = await operator.get("/ns/default/approvals/", headers=HTMX)
            assert found.status_code == 200
            return workflow_id[:12] in found.content.decode()

        await eventually(listed)
        for path in ("/ns/default/", "/ns/default/workflows/", "/ns/default/approvals/", address):
            assert (await operator.get(path)).status_code == 200, path
    finally:
        await handle.terminate()


async def test_a_long_id_takes_not_the_audit_page(operator):
    from asgiref.sync import sync_to_async

    workflow_id = long_id("🚂")
    await sync_to_async(log.append)(actor="a", action="approve", workflow_id=workflow_id, phase="intent")
    response = await operator.get("/audit/")
    assert response.status_code == 200
    assert workflow_id in response.content.decode()


@pytest.mark.parametrize("dependency", ["items", "keys", "0"])
async def test_a_dependency_may_have_any_name(client, queue, worker, operator, dependency):
    answers = {"circuit": {"state": "OPEN", "dependency": dependency, "threshold": 5, "failure_count": 5}}
    async with worker(queue, workflows=[CannedAnswers]):
        breaker = await start_run(
            client, queue, f"breaker-{dependency}", answers=answers, circuit_state="OPEN"
        )
        held = await start_run(
            client,
            queue,
            f"held-{uuid.uuid4()}",
            workflow_type="OrderWorkflow",
            waiting_for=f"breaker:{dependency}",
        )

        async def shown() -> bool:
            cached_read.forget()
            response = await operator.get("/ns/default/breakers/")
            assert response.status_code == 200
            return f"behind {dependency}" in response.content.decode()

        try:
            await eventually(shown)
        finally:
            await breaker.terminate()
            await held.terminate()


async def test_a_row_that_cannot_be_read_is_shown_as_one(client, monkeypatch):
    monkeypatch.setitem(extend.pipelines, "T", Pipeline("T", "Things", (Stage("a", "A"),)))
    monkeypatch.setitem(extend.moneys, "T", Money("T", "Amount", "currency"))
    infinite = payload(1.0, "Double")
    infinite.data = b"Infinity"
    odd = info(attributes={"Amount": infinite, "TenantId": payload("acme")})
    odd.execution.workflow_id = "odd"
    rows = await read_rows(client, [info(), odd, info()])
    assert [row.workflow_id for row in rows] == ["order-1", "odd", "order-1"]
    assert rows[1].attributes == {"TenantId": "acme"}
    assert rows[1].amount is None


async def test_a_row_that_cannot_be_drawn_is_shown_as_one(client):
    [row] = await read_rows(client, [info()])

    def broken(_: object) -> str:
        raise ZeroDivisionError

    shown = [table.Column("A", "", lambda row: "a"), table.Column("B", "", broken)]
    [cells] = table.body([row], shown)
    assert "cannot be shown" in cells
    assert row.url in cells
