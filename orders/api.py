"""The JSON API of orders, under /api/orders/.

Sign in as in the console (session cookie); POST has the CSRF token in X-CSRFToken. Every error is an object
with `detail`, a sentence; 422 adds `fields`, a sentence for each field. What was sent is never repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Field, NinjaAPI, Path, Schema, Status
from ninja.errors import HttpError, ValidationError
from ninja.utils import check_csrf

from dashboard.access import (
    Forbidden,
    LoginRequired,
    Subject,
    Verb,
    authorise,
    for_viewer,
    tenant_for,
    viewer_of,
)
from dashboard.audit.record import recorded
from orders.models import Order
from orders.services import OrderConflict, UnknownCurrency, place_order, workflow_id_of
from orders.validation import NewOrder
from workers.client.errors import TemporalError
from workers.contracts import Outcome, Verdict
from workers.payloads.validation import fields_of


class Problem(Schema):
    """Why it did not happen; `fields` (with 422): what to correct where."""

    detail: str
    fields: dict[str, str] = Field(default_factory=dict)


class OrderOut(Schema):
    """A placed order. How it stands: the workflow `workflow_id`, first run `first_run_id`."""

    tenant: str
    order_id: str
    workflow_id: str
    first_run_id: str
    customer_id: str
    customer_name: str
    currency: str
    total_minor: int
    lines: list[dict[str, Any]]
    strategy: str
    priority: int
    created_by: str
    created_at: datetime


async def _signed_in(request: HttpRequest) -> User | None:
    """The login of the session; for what changes something, only with the CSRF token."""
    if await sync_to_async(check_csrf)(request):  # refused with a page, which reads the session
        raise HttpError(403, "The CSRF token is missing or wrong.")
    user = await request.auser()
    return user if isinstance(user, User) and user.is_active else None


def _for_logins(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The description of the API is for people with a login, as the API is."""

    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"detail": "Sign in first."}, status=401)
        return view(request, **kwargs)

    return guarded


api = NinjaAPI(
    title="Signalbox orders",
    urls_namespace="orders-api",
    auth=_signed_in,
    docs_url=None,
    docs_decorator=_for_logins,
)
PROBLEMS: dict[int, Any] = {401: Problem, 403: Problem, 422: Problem, 503: Problem}


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return api.create_response(request, {"detail": error.message}, status=error.status_code)


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    errors = [{**item, "loc": item["loc"][2:] or item["loc"]} for item in error.errors[:100]]
    body = {"detail": "The order is not valid. Nothing was changed.", "fields": fields_of(errors)}
    return api.create_response(request, body, status=422)


@api.exception_handler(RequestDataTooBig)
def _too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return api.create_response(request, {"detail": "The request is larger than 2 MB."}, status=413)


@api.exception_handler(TemporalError)
def _away(request: HttpRequest, error: TemporalError) -> HttpResponse:
    return api.create_response(request, {"detail": error.message}, status=503)


@api.exception_handler(OrderConflict)
def _conflict(request: HttpRequest, error: OrderConflict) -> HttpResponse:
    return api.create_response(request, {"detail": error.message}, status=409)


@api.exception_handler(UnknownCurrency)
def _unknown_currency(request: HttpRequest, error: UnknownCurrency) -> HttpResponse:
    body = {"detail": "The order is not valid. Nothing was changed.", "fields": {"currency": error.message}}
    return api.create_response(request, body, status=422)


@api.exception_handler(Forbidden)
def _forbidden(request: HttpRequest, error: Forbidden) -> HttpResponse:
    return api.create_response(request, {"detail": str(error)}, status=403)


@api.exception_handler(LoginRequired)
def _login_required(request: HttpRequest, error: LoginRequired) -> HttpResponse:
    return api.create_response(request, {"detail": "Sign in first."}, status=401)


@api.post("/", response={201: OrderOut, 200: OrderOut, 400: Problem, 409: Problem, 413: Problem, **PROBLEMS})
async def create(request: HttpRequest, new: NewOrder) -> Status[Order]:
    """Place an order for the tenant of the login: 201 started now; 200 placed before with the same contents;
    409 with other contents.

    Takes the permission `orders.add_order`.
    """
    user = await request.auser()
    if not await sync_to_async(user.has_perm)("orders.add_order"):
        raise HttpError(403, "Your account may not place orders; an administrator can permit it.")
    viewer = await viewer_of(request)
    tenant = tenant_for(viewer)
    subject = Subject(viewer.namespace, workflow_id_of(new.order_id, tenant), "", tenant)
    async with recorded(viewer, "place order", subject) as record:
        placed = await place_order(new, requester=viewer.name, tenant=tenant)
        detail = "Placed by the API." if placed.created else "It was placed before."
        record.verdict = Verdict(outcome=Outcome.APPLIED, detail=detail)
    return Status(201 if placed.created else 200, placed.order)


@api.get("/{order_id}", response={200: OrderOut, 404: Problem, 409: Problem, **PROBLEMS})
async def read(
    request: HttpRequest,
    order_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")],
    tenant: str = "",
) -> Order:
    """An order of the login's tenant as it was placed. Logins for all tenants name one with `tenant` where
    several have an order of this id; else 409."""
    viewer = await viewer_of(request)
    authorise(viewer, Verb.VIEW)
    rows = for_viewer(viewer).rows(Order.objects.filter(order_id=order_id))
    found = [order async for order in (rows.filter(tenant=tenant) if tenant else rows)[:2]]
    if not found:
        raise HttpError(404, "There is no such order.")
    if len(found) > 1:
        raise HttpError(409, "Several tenants have an order of this id; name one: ?tenant=...")
    return found[0]
