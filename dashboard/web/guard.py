"""Decorator of every view: require a login and a permission, and map domain errors to responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from dashboard.access import Forbidden, LoginRequired, Permission, Viewer, authorise
from dashboard.web import errors
from workers.client.errors import RunNotFound, TemporalUnavailable

P = ParamSpec("P")
TENANT_PREFIX = "tenant:"


class ConsoleRequest(HttpRequest):
    """The request that a view under `console` gets."""

    viewer: Viewer
    htmx: HtmxDetails


View = Callable[Concatenate[ConsoleRequest, P], Awaitable[HttpResponseBase]]
Guarded = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]


def viewer_from(user: AbstractBaseUser | AnonymousUser) -> Viewer:
    """The viewer of a signed-in user; reads the groups from the database. Raises LoginRequired."""
    if not isinstance(user, User) or not user.is_active:
        raise LoginRequired
    names = set(user.groups.values_list("name", flat=True))
    tenants = sorted(name.removeprefix(TENANT_PREFIX) for name in names if name.startswith(TENANT_PREFIX))
    roles = frozenset(name for name in names if not name.startswith(TENANT_PREFIX))
    return Viewer(user.get_username(), roles, tenants[0] if tenants else None, user.is_superuser)


async def viewer_of(request: HttpRequest) -> Viewer:
    """The viewer of a request. Raises LoginRequired."""
    return await sync_to_async(viewer_from)(await request.auser())


def _to_login(request: HttpRequest) -> HttpResponse:
    """Where somebody without a login is sent; comes back to the page, never to the address of an action."""
    here = request.get_full_path()
    if request.method != "GET" or request.headers.get("HX-Request"):
        referer = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
        parts = urlsplit(referer)
        here = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if not url_has_allowed_host_and_scheme(referer, {request.get_host()}):
            here = "/"
    response = redirect_to_login(here, settings.LOGIN_URL)
    if request.headers.get("HX-Request"):
        return HttpResponse(status=401, headers={"HX-Redirect": response.url})
    return response


def console(permission: Permission | None = None) -> Callable[[View[P]], Guarded[P]]:
    """Decorate an async view: a viewer with `permission` gets in, as `request.viewer`; the view itself still
    authorises each run. Without a permission, a login is enough and the view authorises everything. Temporal
    being away becomes a 503 page, a run that is not there a 404 page with a way back."""

    def decorate(view: View[P]) -> Guarded[P]:
        async def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                viewer = await viewer_of(request)
            except LoginRequired:
                return _to_login(request)
            request.viewer = viewer  # type: ignore[attr-defined]
            try:
                if permission:
                    authorise(viewer, permission)
                return await view(request, *args, **kwargs)  # type: ignore[arg-type]
            except Forbidden as error:
                return await sync_to_async(errors.permission_denied)(request, error)
            except TemporalUnavailable as error:
                return await sync_to_async(errors.temporal_away)(request, error)
            except RunNotFound:
                name = str(kwargs.get("workflow_id", ""))
                return await sync_to_async(errors.no_such_run)(request, name)

        return cast(Guarded[P], wraps(view)(guarded))

    return decorate
