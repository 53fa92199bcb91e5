"""Typed queries over orders: exact whatever the text, of one tenant, up to a limit."""

from __future__ import annotations

import uuid

import pytest

from orders.messages import WORKFLOW_TYPE, OrderInput, OrderLine
from orders.queries import find_customer_orders, find_high_value_orders
from tests.support import eventually
from workers.client.launch import launch
from workers.client.visibility import Unusable


async def placed(customer: str, total: int = 3000, *, tenant: str | None = None, currency: str = "EUR"):
    """A run that no worker takes."""
    order = OrderInput(
        order_id=uuid.uuid4().hex,
        customer_id=customer,
        customer_name="Ada",
        currency=currency,
        lines=[OrderLine(sku="KETTLE", quantity=1, unit_minor=total)],
        total_minor=total,
    )
    return await launch(WORKFLOW_TYPE, order, tenant=tenant)


@pytest.fixture
def customer() -> str:
    return f"customer-{uuid.uuid4().hex}"


async def test_the_orders_of_a_customer_are_typed_rows(client, customer):
    handles = [await placed(customer, total) for total in (3000, 4000)]
    other = await placed(f"{customer}-2")
    rows = await eventually(lambda: found(customer, 2))
    assert {(row.workflow_id, row.amount, row.currency) for row in rows} == {
        (handles[0].id, 30.0, "EUR"),
        (handles[1].id, 40.0, "EUR"),
    }
    assert all(row.open and row.customer_name == "Ada" and row.started_at.tzinfo for row in rows)
    assert len(await find_customer_orders(customer, limit=1)) == 1
    await handles[0].terminate()
    await eventually(lambda: found(customer, 1, open_only=True))
    assert len(await find_customer_orders(customer)) == 2
    for handle in (handles[1], other):
        await handle.terminate()


async def found(customer: str, count: int, **how):
    rows = await find_customer_orders(customer, **how)
    return rows if len(rows) == count else None


@pytest.mark.parametrize("twist", ["o'hara", 'say "hi"', "back\\slash", "x' OR '1' = '1"])
async def test_a_hostile_customer_id_finds_its_own_orders_alone(client, customer, twist):
    name = f"{customer}{twist}"
    mine, other = await placed(name), await placed(customer)
    rows = await eventually(lambda: found(name, 1))
    assert [row.workflow_id for row in rows] == [mine.id]
    for handle in (mine, other):
        await handle.terminate()


async def test_what_no_attribute_holds_is_refused(client):
    with pytest.raises(Unusable):
        await find_customer_orders("a\0b")
    with pytest.raises(Unusable):
        await find_high_value_orders(float("nan"))


async def test_another_tenants_orders_are_not_found(client, customer):
    handle = await placed(customer, tenant="acme")
    await eventually(lambda: found(customer, 1, tenant="acme"))
    assert await find_customer_orders(customer) == []
    await handle.terminate()


async def test_orders_of_high_value_in_a_currency(client, customer):
    total = 900_000_000_000
    handles = [await placed(customer, total), await placed(customer, total, currency="USD")]
    low = await placed(customer, total - 100)

    async def both_found():
        rows = await find_high_value_orders(total / 100)
        mine = {row.workflow_id for row in rows if row.customer_id == customer}
        return mine == {handle.id for handle in handles}

    await eventually(both_found)
    usd = await find_high_value_orders(total / 100, currency="USD")
    assert [row.workflow_id for row in usd if row.customer_id == customer] == [handles[1].id]
    for handle in (*handles, low):
        await handle.terminate()
