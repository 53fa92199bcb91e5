"""Orders of two tenants: each is placed, found, listed and decided on by its own alone."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import Permission
from django.test import AsyncClient
from django.urls import reverse
from temporalio.client import Client

from dashboard import roles
from dashboard.models import AuditEntry
from devtools.management.commands.demo_users import person
from orders.models import Order
from orders.services import place_order
from tests.orders.samples import body, new_order, sized
from workers.client.attributes import TENANT_ID

pytestmark = pytest.mark.django_db(transaction=True)
URL, LIST = "/api/orders/", "/admin/orders/order/"


@pytest.fixture(autouse=True)
def tenants(settings: Any) -> None:
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})


async def signed_in(name: str, *groups: str, superuser: bool = False) -> AsyncClient:
    """An operator who may place orders, in these groups."""
    await sync_to_async(roles.ensure)()
    user, _ = await sync_to_async(person)(name, ("operator", *groups))
    user.is_superuser = superuser
    await user.asave()
    await user.user_permissions.aadd(await Permission.objects.aget(codename="add_order"))
    browser = AsyncClient()
    await browser.aforce_login(user)
    return browser


async def post(browser: AsyncClient, data: Any) -> Any:
    return await browser.post(URL, data=json.dumps(data), content_type="application/json")


async def test_an_order_is_placed_for_the_tenant_of_the_login(client: Client):
    acme, rival = await signed_in("ann", "tenant:acme"), await signed_in("rob", "tenant:rival")
    data = body()
    first, other = await post(acme, data), await post(rival, {**data, "customer_name": "Another"})
    # Another tenant's use of the same id tells nothing.
    assert (first.status_code, other.status_code) == (201, 201)
    for answer, tenant in ((first, "acme"), (other, "rival")):
        order = answer.json()
        assert (order["tenant"], order["workflow_id"]) == (tenant, f"{tenant}~order-{data['order_id']}")
        described = await client.get_workflow_handle(order["workflow_id"]).describe()
        assert described.typed_search_attributes[TENANT_ID] == tenant
    assert (await post(acme, data)).status_code == 200
    assert (await acme.get(f"{URL}{data['order_id']}")).json() == first.json()
    assert (await rival.get(f"{URL}{data['order_id']}")).json() == other.json()


async def test_an_order_of_another_tenant_is_not_found(client: Client):
    order = (await place_order(new_order(), requester="ann", tenant="acme", client=client)).order
    rival, lost = await signed_in("rob", "tenant:rival"), await signed_in("lou")
    missing = await rival.get(f"{URL}none-such")
    for address in (order.order_id, f"{order.order_id}?tenant=acme"):
        found = await rival.get(f"{URL}{address}")
        assert (found.status_code, found.json()) == (404, missing.json())
    for answer in (await lost.get(f"{URL}{order.order_id}"), await post(lost, body())):
        assert answer.status_code == 403
        assert "no tenant" in answer.json()["detail"]
    assert await Order.objects.acount() == 1


async def test_a_superuser_names_the_tenant_where_two_have_the_id(client: Client):
    new, root = new_order(), await signed_in("root", superuser=True)
    for tenant in ("acme", "rival"):
        await place_order(new, requester="ann", tenant=tenant, client=client)
    assert (await root.get(f"{URL}{new.order_id}")).status_code == 409
    assert (await root.get(f"{URL}{new.order_id}?tenant=rival")).json()["tenant"] == "rival"
    placed = (await post(root, body())).json()
    assert placed["tenant"] == "default"
    assert (await root.get(f"{URL}{placed['order_id']}")).json() == placed


async def test_the_admin_shows_the_orders_of_the_tenant(client: Client):
    own, other = [
        (await place_order(sized(250_000), requester="otto", tenant=tenant, client=client)).order
        for tenant in ("acme", "rival")
    ]
    browser, lost = await signed_in("ann", "approver", "tenant:acme"), await signed_in("lou", "approver")
    root = await signed_in("root", superuser=True)
    text = (await browser.get(LIST)).content.decode()
    assert own.order_id in text
    assert other.order_id not in text
    everything = (await root.get(LIST)).content.decode()
    assert own.order_id in everything
    assert other.order_id in everything
    assert "column-tenant" in everything
    assert "column-tenant" not in text
    for name in ("change", "history", "decide"):
        route = f"admin:orders_order_{name}"
        more = ["approve"] if name == "decide" else []
        answers = [
            (await browser.get(reverse(route, args=[order.pk, *more]))).status_code for order in (own, other)
        ]
        assert answers == [200, 404 if name == "decide" else 302]  # 302: as of an order that does not exist
    decide = reverse("admin:orders_order_decide", args=[other.pk, "approve"])
    assert (await browser.post(decide, {"reason": "x"})).status_code == 404
    chosen = {"action": "approve_selected", "_selected_action": [other.pk], "batch": "b", "reason": "x"}
    assert other.order_id not in (await browser.post(LIST, chosen, follow=True)).content.decode()
    assert (await lost.get(LIST)).status_code == 403
    assert not await AuditEntry.objects.filter(workflow_id=other.workflow_id, action="approve").aexists()


async def test_orders_from_before_get_their_tenant_from_the_workflow_id():
    fields = {"customer_id": "c", "customer_name": "C", "currency": "EUR", "total_minor": 1, "lines": []}
    for name, workflow_id in (("one", "order-one"), ("two", "acme~order-two")):
        about = {"order_id": name, "workflow_id": workflow_id, "tenant": "default", "created_by": "x"}
        await Order.objects.acreate(**about, **fields)
    migration = importlib.import_module("orders.migrations.0002_order_tenant")
    await sync_to_async(migration._fill)(apps, None)
    found = [row async for row in Order.objects.order_by("order_id").values_list("order_id", "tenant")]
    assert found == [("one", "default"), ("two", "acme")]
