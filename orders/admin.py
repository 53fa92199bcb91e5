"""Orders in the Django admin: to look at, and to decide on, one or many at a time.

Nothing of an order can be edited here. Every decision goes the console's own way: authorised, audited, and
answered by the workflow. Many at once are all sent first; then their answers are gathered under one deadline.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.access import Forbidden, Hidden, Viewer, default_namespace, may, viewer_from
from dashboard.actions import decisions
from dashboard.actions.fields import MAX_REASON, reason_problems
from dashboard.actions.kinds import ACTS, KINDS, LABELS, Choice
from dashboard.actions.view import LEVELS, say
from dashboard.conf import conf
from dashboard.errors import Closed, Invalid
from dashboard.formats import money
from dashboard.states import look
from orders.models import Order
from workers.client.errors import TemporalError
from workers.contracts import Money, Verdict

OFFERED = ("approve", "reject", "cancel")
MOST_AT_ONCE, SENT_AT_ONCE = 200, 20
BULK_PATIENCE = 3  # times the wait of a single verdict
REFUSALS = (Invalid, Closed, Forbidden, Hidden, TemporalError)
STATUS = {Invalid: 422, Closed: 409, Forbidden: 403, Hidden: 404}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one order's decision; `tone` and `word` as everywhere in the console."""

    order: Order
    tone: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants for some orders. `batch` is made with the form: sent again, same answers."""

    act: str
    reason: str
    batch: str

    @classmethod
    def of(cls, request: HttpRequest, act: str) -> Wish:
        posted = request.POST
        return cls(act, posted.get("reason", ""), posted.get("batch", "")[:40] or uuid.uuid4().hex)


async def _send(
    viewer: Viewer, order: Order, wish: Wish, gate: asyncio.Semaphore
) -> decisions.Sent | Exception:
    try:
        async with gate:
            return await decisions.send(
                viewer,
                order.workflow_id,
                order.first_run_id,
                ACTS[wish.act],
                reason=wish.reason,
                decision_id=f"{wish.batch}-{order.pk}",
            )
    except REFUSALS as error:
        return error


async def decide_all(viewer: Viewer, orders: Sequence[Order], wish: Wish) -> list[Verdict | Exception]:
    """Send every signal, then gather the verdicts until one common deadline. One's failure stops no other."""
    gate = asyncio.Semaphore(SENT_AT_ONCE)
    sent = await asyncio.gather(*(_send(viewer, order, wish, gate) for order in orders))
    deadline = time.monotonic() + conf().verdict_seconds * (BULK_PATIENCE if len(orders) > 1 else 1)

    async def verdict(one: decisions.Sent | Exception) -> Verdict | Exception:
        return one if isinstance(one, Exception) else await decisions.await_verdict(one, deadline)

    return await asyncio.gather(*(verdict(one) for one in sent))


def _answer(order: Order, act: str, result: Verdict | Exception) -> Answer:
    if isinstance(result, Exception):
        return Answer(order, "stop", "Not done", getattr(result, "message", "") or str(result))
    shown = look(result.outcome, "outcome")
    return Answer(order, shown.tone, shown.word, say(act, order.workflow_id, result))


if TYPE_CHECKING:
    OrderAdminBase = admin.ModelAdmin[Order]  # generic in the stubs alone
else:
    OrderAdminBase = admin.ModelAdmin


@admin.register(Order)
class OrderAdmin(OrderAdminBase):
    list_display = ("order_id", "customer_name", "total", "strategy", "created_by", "created_at", "console")
    list_filter = ("strategy", "currency", "created_at")
    search_fields = ("order_id", "customer_name", "customer_id", "created_by")
    fields = (
        *("order_id", "console", "customer_name", "customer_id", "total", "items", "strategy", "priority"),
        *("created_by", "created_at"),
    )
    readonly_fields = fields
    actions = ("approve_selected", "reject_selected", "cancel_selected")
    change_form_template = "admin/orders/order/change_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # orders are placed by the shop, through the API

    def has_change_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return False

    @admin.display(description="total", ordering="total_minor")
    def total(self, order: Order) -> str:
        return money(Money(minor=order.total_minor, currency=order.currency))

    @admin.display(description="lines")
    def items(self, order: Order) -> SafeString:
        rows = (
            (line["quantity"], line["sku"], money(Money(minor=line["unit_minor"], currency=order.currency)))
            for line in order.lines
        )
        return format_html_join("", "<div>{} x {} at {}</div>", rows)

    @admin.display(description="workflow")
    def console(self, order: Order) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>',
            reverse("workflow", args=[default_namespace(), order.workflow_id]),
            order.workflow_id,
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.decide_view)
        return [path("<int:pk>/decide/<slug:act>/", view, name="orders_order_decide"), *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        viewer = viewer_from(request.user)
        order = self.get_object(request, object_id)
        closed_as = async_to_sync(decisions.closed_as)
        ended = closed_as(viewer, order.workflow_id, order.first_run_id) if order else ""
        closed = f"The workflow is closed: {ended}." if ended else ""
        whys = [may(viewer, KINDS[ACTS[act]].verb) or closed for act in OFFERED]
        choices = [Choice(act, LABELS[act], why) for act, why in zip(OFFERED, whys, strict=True)]
        more = {"choices": choices, "batch": uuid.uuid4().hex, "max_reason": MAX_REASON}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **more})

    def decide_view(self, request: HttpRequest, pk: int, act: str) -> HttpResponse:
        """One order. GET is the form; POST decides: 303 to the order, else the form again."""
        order = self.get_object(request, str(pk))
        if act not in OFFERED or order is None or not self.has_view_permission(request, order):
            raise Hidden("There is no such order.")
        wish = Wish.of(request, act)
        if request.method != "POST":
            return self._form(request, wish, [order], {})
        (result,) = async_to_sync(decide_all)(viewer_from(request.user), [order], wish)
        if isinstance(result, Exception):
            answer = _answer(order, act, result)
            errors = result.errors if isinstance(result, Invalid) else {}
            note = "" if errors else answer.text
            return self._form(request, wish, [order], errors, note=note, status=STATUS.get(type(result), 503))
        level = LEVELS[look(result.outcome, "outcome").tone]
        self.message_user(request, say(act, order.workflow_id, result), level)
        response = HttpResponseRedirect(reverse("admin:orders_order_change", args=[order.pk]))
        response.status_code = 303
        return response

    def _form(
        self,
        request: HttpRequest,
        wish: Wish,
        orders: Sequence[Order],
        errors: dict[str, str],
        *,
        note: str = "",
        status: int = 200,
        bulk: bool = False,
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"{LABELS[wish.act]} {orders[0] if len(orders) == 1 else f'{len(orders)} orders'}",
            "opts": self.opts,
            "orders": orders,
            "wish": wish,
            "label": LABELS[wish.act],
            "needs_reason": KINDS[ACTS[wish.act]].needs_reason,
            "errors": errors,
            "note": note,
            "bulk": bulk,
            "max_reason": MAX_REASON,
        }
        return TemplateResponse(request, "admin/orders/order/decide.html", context, status=status)

    def _bulk(self, request: HttpRequest, queryset: QuerySet[Order], act: str) -> HttpResponse | None:
        orders = list(queryset[: MOST_AT_ONCE + 1])
        if len(orders) > MOST_AT_ONCE:
            self.message_user(
                request, f"At most {MOST_AT_ONCE} orders at once. Nothing was changed.", messages.ERROR
            )
            return None
        wish = Wish.of(request, act)
        asked = "batch" in request.POST
        errors = reason_problems(ACTS[act], wish.reason) if asked else {}
        if KINDS[ACTS[act]].needs_reason and (not asked or errors):
            return self._form(request, wish, orders, errors, status=422 if errors else 200, bulk=True)
        results = async_to_sync(decide_all)(viewer_from(request.user), orders, wish)
        answers = [_answer(order, act, result) for order, result in zip(orders, results, strict=True)]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{LABELS[act]}: what {len(answers)} orders answered",
            "opts": self.opts,
            "answers": answers,
        }
        return TemplateResponse(request, "admin/orders/order/answers.html", context)

    @admin.action(description="Approve the selected orders", permissions=["view"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        return self._bulk(request, queryset, "approve")

    @admin.action(description="Reject the selected orders", permissions=["view"])
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        return self._bulk(request, queryset, "reject")

    @admin.action(description="Cancel the selected orders", permissions=["view"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        return self._bulk(request, queryset, "cancel")
