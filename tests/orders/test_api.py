"""The JSON API: who may, what is refused and how, and that an order is placed once."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import AsyncClient
from temporalio.client import Client

from dashboard.audit import log
from dashboard.models import AuditEntry
from orders.attributes import CUSTOMER_ID, IS_PREMIUM, ORDER_AMOUNT
from orders.models import Order
from orders.services import OrderConflict, place_order
from tests.orders.samples import body, new_order
from workers.client.attributes import TENANT_ID
from workers.client.connection import set_client

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/orders/"


async def signed_in(user: User, *, checks: bool = False) -> AsyncClient:
    browser = AsyncClient(enforce_csrf_checks=checks)
    await browser.aforce_login(user)
    return browser


@pytest.fixture
async def seller(operator_user: User) -> AsyncClient:
    await operator_user.user_permissions.aadd(await Permission.objects.aget(codename="add_order"))
    return await signed_in(operator_user)


async def post(browser: AsyncClient, data: Any) -> Any:
    return await browser.post(URL, data=json.dumps(data), content_type="application/json")


async def test_placing_an_order_is_in_the_audit(seller: AsyncClient, client: Client):
    data = body()
    await post(seller, data)
    rows = AuditEntry.objects.filter(action="place order", workflow_id=f"order-{data['order_id']}")
    found = [(row.actor, row.phase, row.outcome) async for row in rows.order_by("id")]
    assert found == [("otto", "intent", ""), ("otto", "outcome", "applied")]


async def test_an_order_that_cannot_be_recorded_is_not_placed(seller: AsyncClient, monkeypatch):
    def full(**_: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(log, "append", full)
    data, browser = body(), AsyncClient(raise_request_exception=False)
    browser.cookies = seller.cookies
    answer = await post(browser, data)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "locked, full or away" in answer.json()["detail"]
    assert not await Order.objects.filter(order_id=data["order_id"]).aexists()


async def test_an_order_is_placed_once(seller: AsyncClient, client: Client):
    data = body(strategy="premium")
    first, again = await post(seller, data), await post(seller, data)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    described = await client.get_workflow_handle(f"order-{data['order_id']}").describe()
    assert described.run_id == first.json()["first_run_id"]
    attributes = described.typed_search_attributes
    assert (attributes[ORDER_AMOUNT], attributes[CUSTOMER_ID], attributes[IS_PREMIUM]) == (
        98.0,
        "customer-1",
        True,
    )
    assert attributes[TENANT_ID] == "default"
    memo = await described.memo()
    assert {name: value for name, value in memo.items() if not name.startswith("signalbox_")} == {
        "customer_name": "Café Zentral",
        "currency": "EUR",
        "item_count": 2,
        "requester": "otto",
    }
    read = await seller.get(f"{URL}{data['order_id']}")
    assert read.json() == first.json()


async def test_the_same_id_for_another_order_is_a_conflict(seller: AsyncClient, client: Client):
    data = body()
    await post(seller, data)
    other = await post(seller, {**data, "customer_name": "Somebody else"})
    assert other.status_code == 409
    assert "exists already" in other.json()["detail"]
    assert (await Order.objects.aget(order_id=data["order_id"])).customer_name == "Café Zentral"


async def test_minor_units_follow_the_currency(client: Client, db: Any):
    placed = await place_order(new_order(currency="JPY"), requester="vera", client=client)
    described = await client.get_workflow_handle(placed.order.workflow_id).describe()
    assert described.typed_search_attributes[ORDER_AMOUNT] == 9800.0


async def test_an_order_in_a_currency_without_a_limit_is_refused_and_leaves_nothing(seller: AsyncClient):
    data = body(currency="XAU")
    answer = await post(seller, data)
    assert answer.status_code == 422
    assert answer.json()["fields"]["currency"].startswith("Orders in XAU cannot be placed;")
    assert not await Order.objects.filter(order_id=data["order_id"]).aexists()


async def test_a_launch_that_failed_is_finished_by_placing_again(client: Client, db: Any, monkeypatch: Any):
    new = new_order()

    async def dies(*_: Any, **__: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("orders.services.launch", dies)
        with pytest.raises(ConnectionError):
            await place_order(new, requester="vera", client=client)
    placed = await place_order(new, requester="vera", client=client)
    assert placed.created
    assert placed.order.first_run_id
    with pytest.raises(OrderConflict):
        await place_order(new.model_copy(update={"priority": 9}), requester="vera", client=client)


LINE = {"sku": "SKU-A", "quantity": 1, "unit_minor": 9800}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"total_minor": 9801}, {"total_minor"}),
        ({"total_minor": -1}, {"total_minor"}),
        ({"total_minor": 0, "lines": []}, {"total_minor", "lines"}),
        ({"lines": [{**LINE, "quantity": 0, "unit_minor": -5}]}, {"lines.0.quantity", "lines.0.unit_minor"}),
        ({"lines": [LINE] * 10_000, "total_minor": 98_000_000}, {"lines"}),
        ({"customer_name": "x" * 1_000_000}, {"customer_name"}),
        ({"customer_name": ""}, {"customer_name"}),
        ({"currency": "EU"}, {"currency"}),
        ({"strategy": "teleport"}, {"strategy"}),
        ({"order_id": "a~b/c"}, {"order_id"}),
        ({"total_minor": 98.5}, {"total_minor"}),
        ({"rules": {"approval": None}}, {"rules"}),
        ({"priority": 10}, {"priority"}),
    ],
)
async def test_a_bad_order_is_422_and_names_each_field(seller: AsyncClient, changes: Any, fields: set[str]):
    began = time.monotonic()
    answer = await post(seller, body(**changes))
    assert answer.status_code == 422
    assert set(answer.json()["fields"]) == fields
    assert len(answer.content) < 2_000
    assert time.monotonic() - began < 2
    assert await Order.objects.acount() == 0


async def test_every_missing_field_is_named(seller: AsyncClient):
    answer = await post(seller, {})
    expected = {"order_id", "customer_id", "customer_name", "lines", "total_minor"}
    assert (answer.status_code, set(answer.json()["fields"])) == (422, expected)


async def test_an_unknown_field_is_not_echoed_at_length(seller: AsyncClient):
    answer = await post(seller, body(**{"y" * 500_000: 1}))
    assert answer.status_code == 422
    assert len(answer.content) < 1_000


@pytest.mark.parametrize(
    "raw", ["{", "[" * 100_000, '{"total_minor": ' + "9" * 5000 + "}", "null", "[]", '"x"', ""]
)
async def test_what_is_no_order_at_all_is_refused(seller: AsyncClient, raw: str):
    answer = await seller.post(URL, data=raw, content_type="application/json")
    assert answer.status_code in {400, 422}
    assert answer.json()["detail"]


async def test_more_than_two_megabytes_are_413(seller: AsyncClient):
    answer = await post(seller, body(customer_name="x" * 3_000_000))
    assert answer.status_code == 413


async def test_who_may_not(viewer_user: User, operator_user: User, nobody_user: User):
    assert (await post(AsyncClient(), body())).status_code == 401
    assert (await AsyncClient().get(f"{URL}x")).status_code == 401
    assert (await post(await signed_in(viewer_user), body())).status_code == 403
    assert (await post(await signed_in(operator_user, checks=True), body())).status_code == 403
    assert (await (await signed_in(nobody_user)).get(f"{URL}x")).status_code == 403
    assert await Order.objects.acount() == 0


async def test_reading_what_is_not_there(viewer_user: User):
    browser = await signed_in(viewer_user)
    assert (await browser.get(f"{URL}{uuid.uuid4().hex}")).status_code == 404
    assert (await browser.get(f"{URL}a%7Eb")).status_code == 422


async def test_temporal_away_is_503_and_can_be_repeated(seller: AsyncClient, client: Client, settings: Any):
    data, there = body(), settings.WORKERS
    set_client(None)
    settings.WORKERS = there.model_copy(update={"address": "127.0.0.1:9", "rpc_timeout": 0.3})
    try:
        away = await post(seller, data)
    finally:
        settings.WORKERS = there
        set_client(client)
    assert away.status_code == 503
    assert (await post(seller, data)).status_code == 201


def test_every_error_is_documented():
    from orders.api import api

    operations = api.get_openapi_schema(path_prefix=URL)["paths"]
    codes = {int(code) for code in operations[URL]["post"]["responses"]}
    assert codes >= {200, 201, 401, 403, 409, 413, 422, 503}
