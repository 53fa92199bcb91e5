"""Namespaces: short addresses lead to the configured one, another one is a clear 404, and nothing is
shared."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime

import pytest
from django.test import AsyncClient

from dashboard.access import Subject, UnknownNamespace, Viewer, client_for
from dashboard.audit import log
from dashboard.conf import conf
from dashboard.live import cached_read
from dashboard.models import AuditEntry
from dashboard.query.query import Filter, list_url

ROLE = frozenset({"viewer"})
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def here() -> Viewer:
    return Viewer("vera", ROLE)


@pytest.fixture
def elsewhere() -> Viewer:
    return Viewer("vera", ROLE, namespace="elsewhere")


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("/", "/ns/default/"),
        ("/workflows/", "/ns/default/workflows/"),
        ("/workflows/?q=Stage+%3D+%27a%27&size=20", "/ns/default/workflows/?q=Stage+%3D+%27a%27&size=20"),
        ("/workflows/a%252Fb%20%3F/run-1/", "/ns/default/workflows/a%252Fb%20%3F/run-1/"),
        ("/workflows/%25F0%259F%259A%2582/", "/ns/default/workflows/%25F0%259F%259A%2582/"),
        ("/approvals/?w=order-1", "/ns/default/approvals/?w=order-1"),
        ("/breakers/", "/ns/default/breakers/"),
        ("/workers/", "/ns/default/workers/"),
    ],
)
async def test_a_short_address_leads_to_the_configured_namespace(async_client, short, whole):
    response = await async_client.get(short)
    assert (response.status_code, response["Location"]) == (302, whole)


@pytest.mark.parametrize("address", ["/", "/workflows/order-1/run-1/action/approve/"])
async def test_an_action_has_to_name_its_namespace(async_client, address):
    assert (await async_client.post(address, {})).status_code == 405


@pytest.mark.parametrize(
    "path", ["", "workflows/", "workflows/order-1/", "workflows/order-1/r/", "breakers/"]
)
async def test_another_namespace_is_a_404_that_says_so(viewer_user, path):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    response = await browser.get(f"/ns/elsewhere/{path}")
    assert response.status_code == 404
    text = response.content.decode()
    assert "This console shows the namespace default, not elsewhere." in text
    assert "/ns/elsewhere/" not in text
    assert (await browser.post("/ns/elsewhere/workflows/order-1/r/action/approve/", {})).status_code == 404


async def test_another_namespace_has_no_client(elsewhere):
    with pytest.raises(UnknownNamespace):
        await client_for(elsewhere)


async def test_snapshots_and_badges_of_two_namespaces_are_apart(here, elsewhere):
    cached_read.forget()
    for viewer in (here, elsewhere):

        async def read(name: str = viewer.namespace) -> str:
            return name

        found = await cached_read.cached_read("list", viewer, read, fresh=60)
        assert found.value == viewer.namespace
    cached_read.set_badges(here, approvals=3)
    assert cached_read.badges(here) == {"approvals": 3}
    assert cached_read.badges(elsewhere) == {}


async def test_a_change_invalidates_its_own_namespace_only(here, elsewhere):
    cached_read.forget()
    reads = {here.namespace: 0, elsewhere.namespace: 0}

    async def look(viewer: Viewer) -> None:
        async def read() -> int:
            reads[viewer.namespace] += 1
            return reads[viewer.namespace]

        await cached_read.cached_read("list", viewer, read, fresh=60)

    for viewer in (here, elsewhere):
        await look(viewer)
    cached_read.invalidate("elsewhere")
    for viewer in (here, elsewhere):
        await look(viewer)
    assert reads == {"default": 1, "elsewhere": 2}


def test_lists_of_two_namespaces_have_two_addresses():
    narrowed = Filter(status="Failed")
    assert list_url("a.b-c", narrowed) == "/ns/a.b-c/workflows/?status=Failed"
    assert list_url("a.b-c", Filter()) != list_url("default", Filter())


async def test_the_audit_row_names_the_namespace_of_its_subject(elsewhere):
    intent = await log.intend(elsewhere, "cancel", Subject("elsewhere", "order-1", "r", None))
    outcome = await log.conclude(intent, "applied", "")
    assert (intent.namespace, outcome.namespace) == ("elsewhere", "elsewhere")


def test_rows_without_a_namespace_hold_in_the_chain():
    """The signature covers the empty field too; here it is computed as the documentation says, not by our own
    code."""
    old = AuditEntry(
        at=datetime(2026, 1, 2, tzinfo=UTC),
        actor="anna",
        action="cancel",
        workflow_id="order-1",
        phase=AuditEntry.Phase.INTENT,
        previous_hash=log.GENESIS,
    )
    fields = {name: getattr(old, name) for name in log.SIGNED} | {"at": "2026-01-02T00:00:00.000000+00:00"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    old.hash = hmac.new(conf().audit_ring[0].encode(), text.encode(), "sha256").hexdigest()
    old.save(force_insert=True)
    log.append(actor="b", action="x", workflow_id="w", namespace="default", phase=AuditEntry.Phase.INTENT)
    count, _, broken = log.verify()
    assert (count, broken) == (2, None)
