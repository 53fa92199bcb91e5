"""Orders in the Django admin: looked at, and decided on, without JavaScript and under the strict policy."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.urls import reverse
from temporalio.client import Client

from dashboard.access import Viewer
from dashboard.form_ids import issue
from dashboard.models import AuditEntry
from orders import admin
from orders.messages import QUEUE, OrderRules
from orders.models import Order
from orders.services import place_order, rules_for
from tests.orders.conftest import Sandbox
from tests.orders.samples import sized
from tests.support import eventually
from workers.client.connection import has_pollers
from workers.client.errors import TemporalUnavailable
from workers.contracts import ApprovalPolicy, ApprovalState, Query, SagaState

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/orders/order/"


async def signed_in(user: User, *, checks: bool = False) -> AsyncClient:
    browser = AsyncClient(enforce_csrf_checks=checks)
    await browser.aforce_login(user)
    return browser


async def waiting(client: Client, rules: OrderRules | None = None) -> Order:
    """An order that somebody has to approve."""
    new = sized(250_000)
    return (
        await place_order(new, requester="otto", rules=rules or rules_for(250_000, "EUR"), client=client)
    ).order


def url(order: Order, act: str) -> str:
    return reverse("admin:orders_order_decide", args=[order.pk, act])


async def approval(client: Client, order: Order) -> str:
    handle = client.get_workflow_handle(order.workflow_id)
    return (await handle.query(Query.APPROVAL))["state"]


def batch(name: str = "anna") -> str:
    """What a form that was made for this person carries."""
    return issue(Viewer(name))


def bulk(act: str, orders: list[Order], **more: str) -> dict[str, Any]:
    return {"action": f"{act}_selected", "_selected_action": [order.pk for order in orders], **more}


async def test_the_pages_are_clean_and_show_money(approver_user: User, client: Client):
    order, browser = await waiting(client), await signed_in(approver_user)
    for address in (LIST, reverse("admin:orders_order_change", args=[order.pk]), url(order, "reject")):
        page = await browser.get(address)
        text = page.content.decode()
        assert page.status_code == 200
        assert order.order_id in text
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "€2,500.00" in (await browser.get(LIST)).content.decode()


async def test_filters_and_search_find_orders(approver_user: User, client: Client):
    order, browser = await waiting(client), await signed_in(approver_user)
    assert order.order_id in (await browser.get(f"{LIST}?q={order.order_id}")).content.decode()
    assert order.order_id in (await browser.get(f"{LIST}?strategy=standard")).content.decode()
    assert order.order_id not in (await browser.get(f"{LIST}?strategy=premium")).content.decode()
    assert order.order_id not in (await browser.get(f"{LIST}?q=%27%22%5C%3B--")).content.decode()


async def test_nothing_can_be_added_edited_or_deleted(admin_user: User, client: Client):
    order, browser = await waiting(client), await signed_in(admin_user)
    change = reverse("admin:orders_order_change", args=[order.pk])
    assert (await browser.get(f"{LIST}add/")).status_code == 403
    assert (await browser.post(change, {"customer_name": "x"})).status_code == 403
    assert (
        await browser.post(reverse("admin:orders_order_delete", args=[order.pk]), {"post": "yes"})
    ).status_code == 403
    assert "delete_selected" not in (await browser.get(LIST)).content.decode()


async def test_approve_changes_the_workflow_and_says_so(
    approver_user: User, client: Client, worker: Any, sandbox: Sandbox
):
    order, browser = await waiting(client), await signed_in(approver_user)
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        answer = await browser.post(url(order, "approve"), {"batch": batch()})
        assert answer.status_code == 303
        result = await client.get_workflow_handle(order.workflow_id).result()
    assert result["stage"] == "delivered"
    page = await browser.get(answer.headers["Location"])
    assert f"Approved {order.workflow_id}" in page.content.decode()
    assert [entry.actor async for entry in AuditEntry.objects.filter(workflow_id=order.workflow_id)] == [
        "anna"
    ] * 2


async def test_reject_and_cancel_need_a_reason_and_keep_the_text(
    admin_user: User, client: Client, worker: Any, sandbox: Sandbox
):
    order, browser = await waiting(client), await signed_in(admin_user)
    ada = {"batch": batch("ada")}
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        for act in ("reject", "cancel"):
            assert (await browser.post(url(order, act), {"reason": "  ", **ada})).status_code == 422
        long = await browser.post(url(order, "reject"), {"reason": "why <b>" + "x" * 3000, **ada})
        assert long.status_code == 422
        assert "why &lt;b&gt;xxx" in long.content.decode()
        assert await approval(client, order) == ApprovalState.PENDING
        assert (
            await browser.post(url(order, "cancel"), {"reason": "Ordered twice", **ada})
        ).status_code == 303
        result = await client.get_workflow_handle(order.workflow_id).result()
        assert (result["stage"], "Ordered twice" in result["outcome"]) == ("cancelled", True)
        closed = await browser.post(url(order, "reject"), {"reason": "Too late", **ada})
    assert closed.status_code == 409
    assert "closed already" in closed.content.decode()
    assert "Too late" in closed.content.decode()


async def test_a_closed_order_has_no_button_to_press(
    admin_user: User, client: Client, worker: Any, sandbox: Sandbox, monkeypatch: Any
):
    order, browser = await waiting(client), await signed_in(admin_user)
    address = reverse("admin:orders_order_change", args=[order.pk])
    assert "disabled" not in (await browser.get(address)).content.decode()
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        assert (
            await browser.post(url(order, "cancel"), {"reason": "Twice", "batch": batch("ada")})
        ).status_code == 303
        await client.get_workflow_handle(order.workflow_id).result()
    page = (await browser.get(address)).content.decode()
    assert page.count(" disabled ") == 3
    assert "Cancel: The workflow is closed: Completed." in page

    async def away() -> Client:
        raise TemporalUnavailable("Temporal cannot be reached.")

    monkeypatch.setattr("dashboard.access.get_client", away)
    assert " disabled " not in (await browser.get(address)).content.decode()


async def test_the_same_form_twice_has_one_answer(
    approver_user: User, client: Client, worker: Any, sandbox: Sandbox
):
    two = OrderRules(approval=ApprovalPolicy(quorum=2, roles=["approver"]))
    order, browser = await waiting(client, two), await signed_in(approver_user)
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        handle = client.get_workflow_handle(order.workflow_id)
        await handle.query(Query.APPROVAL)  # the worker answers, so a verdict comes in time
        same = batch()
        for _ in range(2):
            assert (await browser.post(url(order, "approve"), {"batch": same})).status_code == 303
        status = await handle.query(Query.APPROVAL)
        assert (len(status["votes"]), status["missing"]) == (1, 1)
        page = (await browser.get(reverse("admin:orders_order_change", args=[order.pk]))).content.decode()
        assert page.count("Counted; 1 more needed.") == 2
        assert "Approve: You have voted already." in page


async def test_rights_are_checked_in_the_act(
    operator_user: User, approver_user: User, viewer_user: User, client: Client, worker: Any, sandbox: Sandbox
):
    order = await waiting(client)
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        forbidden = await (await signed_in(operator_user)).post(url(order, "approve"), {})
        assert forbidden.status_code == 403
        forbidden = await (await signed_in(approver_user)).post(url(order, "cancel"), {"reason": "x"})
        assert forbidden.status_code == 403
        assert (await (await signed_in(viewer_user)).post(url(order, "approve"), {})).status_code == 302
        assert (await AsyncClient().post(url(order, "approve"), {})).status_code == 302
        token = await (await signed_in(approver_user, checks=True)).post(url(order, "approve"), {})
        assert token.status_code == 403
        assert await approval(client, order) == ApprovalState.PENDING


async def test_what_is_not_there_is_404(admin_user: User, client: Client):
    order, browser = await waiting(client), await signed_in(admin_user)
    assert (await browser.post(url(order, "explode"), {})).status_code == 404
    assert (await browser.post(f"{LIST}999999/decide/approve/", {})).status_code == 404


async def test_many_are_rejected_at_once_and_each_answers(
    approver_user: User, client: Client, worker: Any, sandbox: Sandbox, settings: Any
):
    # The answers are what is tried here, not how soon a busy machine gives them.
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"verdict_seconds": 20})
    orders = [await waiting(client) for _ in range(6)]
    unneeded = (await place_order(sized(5_000), requester="otto", client=client)).order
    browser, made = await signed_in(approver_user), batch()
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        await client.get_workflow_handle(unneeded.workflow_id).result()
        asked = await browser.post(LIST, bulk("reject", [*orders, unneeded]))
        assert 'name="reason"' in asked.content.decode()
        empty = await browser.post(LIST, bulk("reject", [*orders, unneeded], batch=made, reason=""))
        assert empty.status_code == 422
        assert await approval(client, orders[0]) == ApprovalState.PENDING
        answers = await browser.post(LIST, bulk("reject", [*orders, unneeded], batch=made, reason="Too dear"))
        text = answers.content.decode()
        assert text.count("Rejected order-") == len(orders)
        assert text.count("closed already") == 1
        states = [await approval(client, order) for order in orders]
    assert states == [ApprovalState.REJECTED] * len(orders)


async def test_many_without_a_worker_are_all_sent_and_wait(
    approver_user: User, client: Client, settings: Any, sandbox: Sandbox, worker: Any
):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"verdict_seconds": 0.2})
    orders = [await waiting(client) for _ in range(4)]
    browser = await signed_in(approver_user)
    began = time.monotonic()
    answers = await browser.post(LIST, bulk("approve", orders, batch=batch()))
    assert time.monotonic() - began < 4
    assert answers.content.decode().count("not confirmed yet") >= len(orders)
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        for order in orders:
            await client.get_workflow_handle(order.workflow_id).result()
            saga = await client.get_workflow_handle(order.workflow_id).query(Query.SAGA)
            assert saga["state"] == SagaState.COMPLETED


async def test_one_that_fails_takes_no_other_with_it(
    approver_user: User, client: Client, settings: Any, sandbox: Sandbox, monkeypatch: Any
):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"verdict_seconds": 0.2})
    orders, real = [await waiting(client) for _ in range(3)], admin.decide

    async def decide(viewer: Any, action: Any, workflow_id: str, *more: Any, **options: Any) -> Any:
        if workflow_id == orders[1].workflow_id:
            raise ValueError("an odd order")
        return await real(viewer, action, workflow_id, *more, **options)

    monkeypatch.setattr(admin, "decide", decide)
    page = await (await signed_in(approver_user)).post(LIST, bulk("approve", orders, batch=batch()))
    text = page.content.decode()
    assert page.status_code == 200
    assert text.count("An error in the console") == 1
    assert text.count("not confirmed yet:") == 2
    rows = [(row.workflow_id, row.outcome) async for row in AuditEntry.objects.filter(phase="outcome")]
    assert sorted(rows) == sorted(
        (order.workflow_id, "failed" if order is orders[1] else "pending") for order in orders
    )


async def test_many_are_listed_with_what_would_come_of_it_before_anything_is_sent(
    approver_user: User, client: Client, worker: Any, sandbox: Sandbox
):
    two = OrderRules(approval=ApprovalPolicy(quorum=2, roles=["approver"]))
    first, voted, browser = await waiting(client), await waiting(client, two), await signed_in(approver_user)
    async with worker(QUEUE):
        await eventually(lambda: has_pollers(client, QUEUE))  # else a verdict is not waited for
        assert (await browser.post(url(voted, "approve"), {"batch": batch()})).status_code == 303
        handle = client.get_workflow_handle(voted.workflow_id)

        async def counted() -> bool:
            return bool((await handle.query(Query.APPROVAL))["votes"])

        await eventually(counted)
        rows = await AuditEntry.objects.acount()

        async def listed() -> str:
            text = (await browser.post(LIST, bulk("approve", [first, voted]))).content.decode()
            return text if "You have voted already." in text else ""

        text = await eventually(listed)
        assert await AuditEntry.objects.acount() == rows
        assert (await client.get_workflow_handle(first.workflow_id).query(Query.APPROVAL))["votes"] == []
        assert "1 of 2 would take it" in text
        assert f'value="{first.pk}" checked' in text
        assert f'value="{voted.pk}">' in text
        made = re.findall(r'name="batch" value="([^"]+)"', text)[0]
        answers = await browser.post(LIST, bulk("approve", [first], batch=made))
        assert f"Approved {first.workflow_id}" in answers.content.decode()


async def test_a_batch_of_another_person_is_refused(approver_user: User, client: Client):
    order, browser = await waiting(client), await signed_in(approver_user)
    theirs = await browser.post(LIST, bulk("approve", [order], batch=batch("ada")))
    assert theirs.status_code == 422
    assert "This form is not complete. Open the page again." in theirs.content.decode()
    single = await browser.post(url(order, "approve"), {"batch": "forged:x", "reason": "typed"})
    assert single.status_code == 422
    assert "typed</textarea>" in single.content.decode()
    assert not await AuditEntry.objects.filter(outcome="applied").aexists()


async def test_too_many_at_once_change_nothing(approver_user: User, client: Client, monkeypatch: Any):
    monkeypatch.setattr("orders.admin.MOST_AT_ONCE", 1)
    orders = [await waiting(client) for _ in range(2)]
    browser = await signed_in(approver_user)
    page = await browser.post(LIST, bulk("approve", orders), follow=True)
    assert "At most 1 orders at once" in page.content.decode()
    assert await AuditEntry.objects.exclude(phase="event").acount() == 0
