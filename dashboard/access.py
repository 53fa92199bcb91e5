"""Who may do what: the one place that every read and every act passes.

Roles are Django groups (`dashboard.roles` makes them). Other groups, such as `finance`, travel with a
decision as roles for the workflow's own policy, and give no right here. A group `tenant:<id>` says whose
workflows a person sees when the setting TENANCY is `attribute`; then strangers get 404, so that not even an
id is confirmed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from dashboard.conf import conf
from dashboard.visibility.query import quote
from workers.attributes import TENANT_ID
from workers.errors import RunNotFound, TemporalAway

P = ParamSpec("P")
TENANT_PREFIX = "tenant:"


class Verb(StrEnum):
    """What a person can do. The value completes the sentence "you may not …"."""

    VIEW = "view"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    RESOLVE = "resolve"
    AUDIT = "audit"


ROLES: dict[str, frozenset[Verb]] = {
    "viewer": frozenset({Verb.VIEW}),
    "operator": frozenset({Verb.VIEW, Verb.CANCEL, Verb.RESOLVE, Verb.AUDIT}),
    "approver": frozenset({Verb.VIEW, Verb.APPROVE, Verb.REJECT}),
    "admin": frozenset(Verb),
}
PHRASES = {
    Verb.VIEW: "look at workflows",
    Verb.APPROVE: "approve",
    Verb.REJECT: "reject",
    Verb.CANCEL: "cancel workflows",
    Verb.RESOLVE: "resolve a stuck compensation",
    Verb.AUDIT: "read the audit log",
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is asking. `roles` are the names of all groups of the login, without those that name a tenant."""

    name: str
    roles: frozenset[str] = frozenset()
    tenant: str | None = None
    superuser: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked for: one run, with the tenant that its own TenantId attribute names."""

    workflow_id: str
    run_id: str
    tenant: str | None


class ConsoleRequest(HttpRequest):
    """The request that a view under `console` gets."""

    viewer: Viewer
    htmx: HtmxDetails


View = Callable[Concatenate[ConsoleRequest, P], Awaitable[HttpResponseBase]]
Guarded = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]


class LoginRequired(Exception):
    """Nobody is signed in."""


class Forbidden(PermissionDenied):
    """403; the message is a sentence that says what is missing and whom to ask."""


class Hidden(Http404):
    """404: of another tenant, so it does not exist for this viewer."""


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


def _stranger(viewer: Viewer, subject: Subject | None) -> bool:
    if subject is None or conf().tenancy == "off" or viewer.superuser:
        return False
    return viewer.tenant is None or subject.tenant != viewer.tenant


def may(viewer: Viewer, verb: Verb, subject: Subject | None = None) -> str:
    """Empty when it is allowed, else the reason as a sentence, to stand beside a disabled button."""
    if viewer.superuser:
        return ""
    if not viewer.roles & ROLES.keys():
        return "Your account has no role yet. Ask an administrator to add you to one."
    if conf().tenancy == "attribute" and viewer.tenant is None:
        return "Your account belongs to no tenant. Ask an administrator to add you to one."
    if _stranger(viewer, subject):
        return "There is no such workflow."
    if any(verb in ROLES[role] for role in viewer.roles & ROLES.keys()):
        return ""
    able = " or ".join(role for role, verbs in ROLES.items() if verb in verbs)
    return f"Your role may not {PHRASES[verb]}. It takes the role {able}; an administrator can give it."


def authorise(viewer: Viewer, verb: Verb, subject: Subject | None = None) -> None:
    """Pass, or raise Forbidden (403), or Hidden (404) for what belongs to another tenant."""
    if reason := may(viewer, verb, subject):
        raise Hidden(reason) if _stranger(viewer, subject) else Forbidden(reason)


def scope(viewer: Viewer) -> str:
    """The visibility clause that every query of this viewer carries; empty when nothing is to be hidden.

    Raises Forbidden for a viewer without a tenant: no clause may ever widen by accident.
    """
    if conf().tenancy == "off" or viewer.superuser:
        return ""
    if viewer.tenant is None:
        raise Forbidden(may(viewer, Verb.VIEW))
    return f"{TENANT_ID.name} = {quote(viewer.tenant)}"


def _to_login(request: HttpRequest) -> HttpResponse:
    """Where somebody without a login is sent; comes back to the page, never to the address of an act."""
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


def console(verb: Verb) -> Callable[[View[P]], Guarded[P]]:
    """Decorate an async view: only who may `verb` gets in, as `request.viewer`; the view itself still
    authorises each run. Temporal being away becomes a 503 page, a run that is not there a 404 page with a way
    back."""

    def decorate(view: View[P]) -> Guarded[P]:
        async def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            from dashboard.views import errors

            try:
                viewer = await viewer_of(request)
            except LoginRequired:
                return _to_login(request)
            request.viewer = viewer  # type: ignore[attr-defined]
            try:
                authorise(viewer, verb)
                return await view(request, *args, **kwargs)  # type: ignore[arg-type]
            except Forbidden as error:
                return await sync_to_async(errors.permission_denied)(request, error)
            except TemporalAway as error:
                return await sync_to_async(errors.temporal_away)(request, error)
            except RunNotFound:
                name = str(kwargs.get("workflow_id", ""))
                return await sync_to_async(errors.no_such_run)(request, name)

        return cast(Guarded[P], wraps(view)(guarded))

    return decorate
