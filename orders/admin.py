"""Orders in the Django admin: to look at, and to decide on, one or many at a time.

Nothing of an order can be edited here. Every decision goes the console's own way: authorised, audited, and
answered by the workflow; many at once under one deadline. Which actions there are, the console says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.access import (
    Hidden,
    Subject,
    Viewer,
    client_for,
    default_namespace,
    for_all_tenants,
    for_viewer,
    may,
    viewer_in,
)
from dashboard.actions.decide import decide
from dashboard.actions.failures import failure_of
from dashboard.actions.offers import Button, buttons, read_target, reason_hint
from dashboard.actions.verdicts import tell
from dashboard.audit.record import record_not_done
from dashboard.conf import conf
from dashboard.errors import Closed, Invalid, NotRecorded, NotTaken, OutcomeUnknown
from dashboard.extend import Action, Target, actions
from dashboard.form_ids import issue, nonce_of
from dashboard.formats import money
from dashboard.forms import LONGEST_REASON
from dashboard.temporal_api.decisions import find_run, newest_of_chain
from orders.models import Order
from workers.client.errors import TemporalError
from workers.contracts import Money, Verdict

logger = logging.getLogger(__name__)
MOST_AT_ONCE, CALLS_AT_ONCE = 200, 20
BULK_FACTOR = 3  # times the wait of a single verdict
# What `decide` raises when it has recorded the action, or could not.
RECORDED = (Closed, NotTaken, NotRecorded, OutcomeUnknown)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one order's decision; `tone` and `word` as everywhere in the console."""

    order: Order
    tone: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a decision would come to for one order, by its state now. `why` says why it would be refused."""

    order: Order
    why: str


@dataclass(frozen=True, slots=True)
class Submission:
    """An action with what was typed for some orders. `batch` is made with the form and signed for the viewer:
    sent again, the answers are the same."""

    viewer: Viewer
    action: Action
    reason: str
    batch: str

    @classmethod
    def of(cls, request: HttpRequest, action: Action) -> Submission:
        viewer, posted = viewer_in(request), request.POST
        return cls(viewer, action, posted.get("reason", ""), posted.get("batch", ""))

    def renewed(self) -> Submission:
        """With a batch that can be sent."""
        return self if nonce_of(self.batch, self.viewer) else replace(self, batch=issue(self.viewer))

    def data(self, order: Order) -> dict[str, str]:
        """The fields of the action's form, for one order."""
        nonce = nonce_of(self.batch, self.viewer)
        form_id = issue(self.viewer, order.workflow_id, order.first_run_id, nonce=nonce) if nonce else ""
        return {"reason": self.reason, "form_id": form_id}

    def errors(self, order: Order) -> dict[str, str]:
        """What has to be corrected before anything is sent."""
        form = self.action.form(Target(self.viewer, _subject(self.viewer, order)), self.data(order))
        return {name: str(errors[0]) for name, errors in form.errors.items()}


def _subject(viewer: Viewer, order: Order) -> Subject:
    return Subject(viewer.namespace, order.workflow_id, order.first_run_id, viewer.tenant)


async def decide_all(orders: Sequence[Order], submission: Submission) -> list[Verdict | BaseException]:
    """The verdict for each order, or the error that kept it from being decided; one's error stops no other,
    and each is in the audit log. Temporal is called for a few at a time, and all verdicts are waited for
    until one deadline."""
    viewer, action = submission.viewer, submission.action
    timeout = conf().verdict_seconds * (BULK_FACTOR if len(orders) > 1 else 1)
    deadline, gate = time.monotonic() + timeout, asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(order: Order) -> Verdict:
        run = (order.workflow_id, order.first_run_id)
        try:
            return await decide(viewer, action, *run, submission.data(order), deadline=deadline, gate=gate)
        except RECORDED:
            raise
        except Exception as error:
            why = _answer(order, action, error).text
            subject = _subject(viewer, order)
            await record_not_done(viewer, action.name, subject, why, reason=submission.reason)
            raise

    return await asyncio.gather(*(one(order) for order in orders), return_exceptions=True)


def _answer(order: Order, action: Action, result: Verdict | BaseException) -> Answer:
    if isinstance(result, Verdict):
        message = tell(action, order.workflow_id, result)
        return Answer(order, message.tone, message.word, message.text)
    failure = failure_of(result, action, order.workflow_id) if isinstance(result, Exception) else None
    if failure is None or failure.status == 500:
        logger.error("%s of %s failed.", action.name, order.workflow_id, exc_info=result)
    return Answer(order, "stop", failure.word if failure else "Failed", failure.note if failure else "")


async def outlooks(orders: Sequence[Order], submission: Submission) -> list[Outlook]:
    """What each order is known to say to the action now; nothing is sent."""
    gate = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(order: Order) -> Outlook:
        async with gate:
            offered = await _buttons(submission.viewer, order)
        button = next((each for each in offered if each.action is submission.action), None)
        return Outlook(order, button.why if button else "It does not wait for this now.")

    return await asyncio.gather(*(one(order) for order in orders))


async def _buttons(viewer: Viewer, order: Order) -> list[Button]:
    """What may be done to an order; all of it, where Temporal does not answer with its state."""
    known = list(actions("bulk").values())
    try:
        client = await client_for(viewer)
        run = await newest_of_chain(client, await find_run(client, order.workflow_id, order.first_run_id))
        if run.ended:
            closed = f"The workflow is closed: {run.ended}."
            return [Button(action, may(viewer, action.permission) or closed) for action in known]
        return buttons(await read_target(viewer, order.workflow_id, run.run_id), "bulk")
    except TemporalError:
        return [Button(action, may(viewer, action.permission)) for action in known]


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
        *("order_id", "tenant", "console", "customer_name", "customer_id", "total", "items", "strategy"),
        *("priority", "created_by", "created_at"),
    )
    readonly_fields = fields
    change_form_template = "admin/orders/order/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """The orders of the viewer's tenant: what is none of them, does not exist here."""
        return for_viewer(viewer_in(request)).rows(super().get_queryset(request))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        first, *others = self.list_display
        several = conf().tenancy == "attribute" and for_all_tenants(viewer_in(request))
        return [first, *(["tenant"] if several else []), *others]

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
        return [path("<int:pk>/decide/<slug:action>/", view, name="orders_order_decide"), *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What the console lets a viewer do to many runs at once."""
        viewer = viewer_in(request)
        return {
            f"{name}_selected": (
                lambda own, request, chosen, action=action: own.decide_selected(request, chosen, action),
                f"{name}_selected",
                f"{action.label} the selected orders",
            )
            for name, action in actions("bulk").items()
            if not may(viewer, action.permission)
        }

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        order = self.get_object(request, object_id)
        buttons = async_to_sync(_buttons)(viewer_in(request), order) if order else []
        more = {
            "buttons": buttons,
            "hint": reason_hint(button.action for button in buttons),
            "batch": issue(viewer_in(request)),
            "max_reason": LONGEST_REASON,
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **more})

    def decide_view(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """One order. GET is the form; POST decides: 303 to the order, else the form again."""
        order, chosen = self.get_object(request, str(pk)), actions("bulk").get(action)
        if chosen is None or order is None or not self.has_view_permission(request, order):
            raise Hidden("There is no such order.")
        submission = Submission.of(request, chosen)
        if request.method != "POST":
            return self._form(request, submission, [Outlook(order, "")])
        (result,) = async_to_sync(decide_all)([order], submission)
        if isinstance(result, BaseException):
            return self._refused(request, submission, order, result)
        message = tell(chosen, order.workflow_id, result)
        self.message_user(request, message.text, message.level)
        response = HttpResponseRedirect(reverse("admin:orders_order_change", args=[order.pk]))
        response.status_code = 303
        return response

    def _refused(
        self, request: HttpRequest, submission: Submission, order: Order, error: BaseException
    ) -> HttpResponse:
        """The form again, with why nothing came of it."""
        failure = (
            failure_of(error, submission.action, order.workflow_id) if isinstance(error, Exception) else None
        )
        if failure is None:
            raise error
        if failure.status == 500:
            logger.error("%s of %s failed.", submission.action.name, order.workflow_id, exc_info=error)
        errors = error.errors if isinstance(error, Invalid) else {}
        note = f"{failure.word}: {failure.note}" if "reason" not in errors else ""
        response = self._form(
            request, submission, [Outlook(order, "")], errors, note=note, status=failure.status
        )
        if failure.retry_after:
            response.headers["Retry-After"] = str(failure.retry_after)
        return response

    def _form(
        self,
        request: HttpRequest,
        submission: Submission,
        chosen: Sequence[Outlook],
        errors: Mapping[str, str] = MappingProxyType({}),
        *,
        note: str = "",
        status: int = 200,
        bulk: bool = False,
    ) -> TemplateResponse:
        of = chosen[0].order if len(chosen) == 1 else f"{len(chosen)} orders"
        context = {
            **self.admin_site.each_context(request),
            "title": f"{submission.action.label} {of}",
            "opts": self.opts,
            "chosen": chosen,
            "able": sum(not each.why for each in chosen),
            "submission": submission.renewed(),
            "hint": reason_hint([submission.action]),
            "errors": errors,
            "note": note or errors.get("form_id", ""),
            "bulk": bulk,
            "max_reason": LONGEST_REASON,
        }
        return TemplateResponse(request, "admin/orders/order/decide.html", context, status=status)

    def decide_selected(
        self, request: HttpRequest, queryset: QuerySet[Order], action: Action
    ) -> HttpResponse | None:
        """Many orders: a page that lists them, with what would come of it, and once that is confirmed what
        each of them answered."""
        orders = list(queryset[: MOST_AT_ONCE + 1])
        if len(orders) > MOST_AT_ONCE:
            self.message_user(
                request, f"At most {MOST_AT_ONCE} orders at once. Nothing was changed.", messages.ERROR
            )
            return None
        if not orders:
            self.message_user(request, "The selected orders are not here any more.", messages.ERROR)
            return None
        submission = Submission.of(request, action)
        sent = "batch" in request.POST
        errors = submission.errors(orders[0]) if sent else {}
        if errors or not sent:
            known = async_to_sync(outlooks)(orders, submission)
            return self._form(request, submission, known, errors, status=422 if errors else 200, bulk=True)
        results = async_to_sync(decide_all)(orders, submission)
        answers = [_answer(order, action, result) for order, result in zip(orders, results, strict=True)]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{action.label}: what {len(answers)} orders answered",
            "opts": self.opts,
            "answers": answers,
        }
        return TemplateResponse(request, "admin/orders/order/answers.html", context)
