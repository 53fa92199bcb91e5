"""Who may do what, and where: the one place that every page, every read and every action passes.

Roles are Django groups (`dashboard.roles` makes them), and an action brings its own permission. Other groups,
such as `finance`, travel with a decision as roles for the workflow's own policy, and give no right here.

A group `tenant:<id>` says whose workflows a person sees when the setting TENANCY is `attribute`; viewers of
another tenant then get 404, so that not even an id is confirmed. Who is in several such groups chooses one
for the session. The platform's own tenant has no members: what belongs to it is for superusers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import quote as url_quote

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django_htmx.middleware import HtmxDetails
from temporalio.client import Client

from dashboard.conf import conf
from workers.client.attributes import TENANT_ID
from workers.client.connection import get_client
from workers.client.tenants import PLATFORM_TENANT
from workers.client.visibility import any_of, quote
from workers.conf import conf as workers_conf

P = ParamSpec("P")
M = TypeVar("M", bound=Model)
TENANT_PREFIX = "tenant:"
TENANT = re.compile(r"[^~/\s]{1,60}")  # as the setting TENANT_ID takes it
CHOSEN_TENANT = "tenant"  # the key in the session

ROLES = ("viewer", "operator", "approver", "admin")


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role may do. `phrase` completes the sentence "Your role may not …"; `roles` have the permission,
    and admin has every one."""

    phrase: str
    roles: frozenset[str] = frozenset()


class Verb:
    """The permissions of the pages, and of signals that a workflow is not known to take. Those of actions
    stand in the modules of the actions."""

    VIEW = Permission("look at workflows", frozenset({"viewer", "operator", "approver"}))
    AUDIT = Permission("read the audit log", frozenset({"operator"}))
    SIGNAL_ANY = Permission("send a signal that a workflow is not known to take", frozenset({"operator"}))


def default_namespace() -> str:
    """The namespace that this console is configured for."""
    return workers_conf().namespace


@dataclass(frozen=True, slots=True)
class Viewer:
    """The signed-in person, and the namespace of the request. `roles` are the names of all groups of the
    login but those that name a tenant; `tenants` are those that it belongs to, and `tenant` is the only one
    of them, or the one that was chosen for the session."""

    name: str
    roles: frozenset[str] = frozenset()
    tenant: str | None = None
    superuser: bool = False
    namespace: str = field(default_factory=default_namespace)
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What a permission is checked on: one run, with its namespace and with the tenant that its own
    TenantId attribute names."""

    namespace: str
    workflow_id: str
    run_id: str
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a viewer may see: the runs and rows of some tenants in a namespace; `tenants` None: of all."""

    namespace: str
    tenants: tuple[str, ...] | None = None

    @property
    def clause(self) -> str:
        """The visibility clause that every query carries; empty where nothing is to be hidden."""
        if self.tenants is None:
            return ""
        if len(self.tenants) == 1:
            return f"{TENANT_ID.name} = {quote(self.tenants[0])}"
        return f"{TENANT_ID.name} IN {any_of([*self.tenants])}"

    def admits(self, subject: Subject) -> bool:
        """Whether a run may be seen, by its own namespace and TenantId."""
        if subject.namespace != self.namespace:
            return False
        return self.tenants is None or subject.tenant in self.tenants

    def rows(self, found: QuerySet[M]) -> QuerySet[M]:
        """Of rows that name their tenant, those that may be seen."""
        return found if self.tenants is None else found.filter(tenant__in=self.tenants)

    def with_platform(self) -> Scope:
        """Also what the platform's own tenant has, such as shared breakers."""
        return self if self.tenants is None else replace(self, tenants=(*self.tenants, PLATFORM_TENANT))


class LoginRequired(Exception):
    """The request has no login."""


class Forbidden(PermissionDenied):
    """403; the message is a sentence that says what is missing and which role it takes."""


class Hidden(Http404):
    """404: of another tenant or namespace, so it does not exist for this viewer."""


class UnknownNamespace(Http404):
    """404: a namespace that this console does not serve; the message is a sentence."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"This console shows the namespace {default_namespace()}, not {namespace}.")


def tenants_in(groups: Iterable[str]) -> tuple[str, ...]:
    """The tenants that groups of these names stand for. The platform's own is none of them: members of it
    would operate what all tenants share."""
    named = {name.removeprefix(TENANT_PREFIX) for name in groups if name.startswith(TENANT_PREFIX)}
    return tuple(sorted(name for name in named - {PLATFORM_TENANT} if TENANT.fullmatch(name)))


def viewer_from(user: AbstractBaseUser | AnonymousUser, namespace: str = "", chosen: str = "") -> Viewer:
    """The viewer of a signed-in user in a namespace (by default the configured one); reads the groups from
    the database. `chosen`: the tenant that the session names. Raises LoginRequired."""
    if not isinstance(user, User) or not user.is_active:
        raise LoginRequired
    names = set(user.groups.values_list("name", flat=True))
    tenants = tenants_in(names)
    return Viewer(
        user.get_username(),
        frozenset(name for name in names if not name.startswith(TENANT_PREFIX)),
        tenants[0] if len(tenants) == 1 else chosen if chosen in tenants else None,
        user.is_superuser,
        namespace or default_namespace(),
        tenants,
    )


async def viewer_of(request: HttpRequest, namespace: str = "") -> Viewer:
    """The viewer of a request. Raises LoginRequired."""
    user = await request.auser()
    chosen = str(await request.session.aget(CHOSEN_TENANT, "") or "")
    return await sync_to_async(viewer_from)(user, namespace, chosen)


def viewer_in(request: HttpRequest) -> Viewer:
    """The viewer of a request, for synchronous views such as those of the Django admin. Raises
    LoginRequired."""
    return viewer_from(request.user, chosen=str(request.session.get(CHOSEN_TENANT) or ""))


def for_all_tenants(viewer: Viewer) -> bool:
    """Whether this viewer is bound to no tenant: there are none, or the viewer is a superuser."""
    return conf().tenancy == "off" or viewer.superuser


def _scope(viewer: Viewer) -> Scope:
    """The scope of a viewer; a viewer without a tenant sees nothing."""
    if for_all_tenants(viewer):
        return Scope(viewer.namespace)
    return Scope(viewer.namespace, (viewer.tenant,) if viewer.tenant else ())


def for_viewer(viewer: Viewer) -> Scope:
    """What this viewer may see: every list, count, cached read and queryset passes it. Raises Forbidden for
    a viewer without a tenant: nothing may ever widen by accident."""
    found = _scope(viewer)
    if found.tenants == ():
        raise Forbidden(_tenant_missing(viewer))
    return found


def _hidden(viewer: Viewer, subject: Subject | None) -> bool:
    """Whether a subject is of another namespace or tenant than the viewer's."""
    return subject is not None and not _scope(viewer).admits(subject)


def _tenant_missing(viewer: Viewer) -> str:
    """Why a viewer has no tenant, as a sentence; empty for one who needs none."""
    if for_all_tenants(viewer) or viewer.tenant:
        return ""
    if viewer.tenants:
        return f"Your account belongs to the tenants {', '.join(viewer.tenants)}. Choose one of them."
    return "Your account belongs to no tenant. Ask an administrator to add you to one."


def may(viewer: Viewer, permission: Permission, subject: Subject | None = None) -> str:
    """Empty when it is allowed, else the reason as a sentence, to stand beside a disabled button."""
    if viewer.superuser:
        return "There is no such workflow." if _hidden(viewer, subject) else ""
    if not viewer.roles.intersection(ROLES):
        return "Your account has no role yet. Ask an administrator to add you to one."
    if missing := _tenant_missing(viewer):
        return missing
    if _hidden(viewer, subject):
        return "There is no such workflow."
    able = [role for role in ROLES if role in permission.roles or role == "admin"]
    if viewer.roles.intersection(able):
        return ""
    return f"Your role may not {permission.phrase}. Requires the role {' or '.join(able)}."


def authorise(viewer: Viewer, permission: Permission, subject: Subject | None = None) -> None:
    """Pass, or raise Forbidden (403), or Hidden (404) for what belongs to another tenant or namespace."""
    if reason := may(viewer, permission, subject):
        raise Hidden(reason) if _hidden(viewer, subject) else Forbidden(reason)


def tenant_for(viewer: Viewer) -> str:
    """The tenant of what this viewer starts: the viewer's own; for those who are bound to none, that of the
    settings. Raises Forbidden for a viewer without a tenant."""
    tenants = for_viewer(viewer).tenants
    return tenants[0] if tenants else workers_conf().tenant


async def client_for(viewer: Viewer) -> Client:
    """The client of the viewer's namespace. Raises UnknownNamespace, TemporalUnavailable."""
    if viewer.namespace != default_namespace():
        raise UnknownNamespace(viewer.namespace)
    return await get_client()


def _of_another_tenant(request: HttpRequest, viewer: Viewer) -> bool:
    """Whether htmx wants a part of a page that was drawn before its viewer chose another tenant: the whole
    page has to be read again, as its header names the other one."""
    drawn_for = request.headers.get("X-Tenant", "")
    return bool(drawn_for) and drawn_for != url_quote(viewer.tenant or "", safe="")


# A moment after that of a call that begins with the page, so that its own failure is the reason shown.
MORE_SECONDS = 0.5
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def _page_deadline() -> Iterator[None]:
    """One deadline for all that a page reads from Temporal: reads that follow each other must not add up."""
    token = _deadline.set(time.monotonic() + workers_conf().rpc_timeout + MORE_SECONDS)
    try:
        yield
    finally:
        _deadline.reset(token)


def within(max_wait: float | None = None) -> float | None:
    """Seconds that a read may still be waited for, `max_wait` at most; None: as long as it takes, outside of
    pages."""
    deadline = _deadline.get()
    if deadline is None:
        return max_wait
    left = max(0.0, deadline - time.monotonic())
    return left if max_wait is None else min(left, max_wait)


class ConsoleRequest(HttpRequest):
    """The request that a view under `console` gets."""

    viewer: Viewer
    htmx: HtmxDetails


View = Callable[Concatenate[ConsoleRequest, P], Awaitable[HttpResponseBase]]
Guarded = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]


def console(permission: Permission | None = None) -> Callable[[View[P]], Guarded[P]]:
    """Decorate an async view: it requires a login and the permission, and passes the viewer on as
    `request.viewer`, in the namespace that the address names. The view itself authorises each run; without a
    permission, it authorises everything. What is raised becomes a page in `dashboard.web.errors`."""

    def decorate(view: View[P]) -> Guarded[P]:
        async def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            namespace = str(kwargs.pop("namespace", "")) or default_namespace()
            served = namespace == default_namespace()
            viewer = await viewer_of(request, namespace if served else "")
            request.viewer = viewer  # type: ignore[attr-defined]
            if _of_another_tenant(request, viewer):
                return HttpResponse(headers={"HX-Refresh": "true"})
            if permission:
                authorise(viewer, permission)
            if not served:
                raise UnknownNamespace(namespace)
            with _page_deadline():
                return await view(request, *args, **kwargs)  # type: ignore[arg-type]

        return cast(Guarded[P], wraps(view)(guarded))

    return decorate
