"""Who may do what, and where: the one place that every page, every read and every action passes.

Roles are Django groups (`dashboard.roles` makes them), and an action brings its own permission. Other groups,
such as `finance`, travel with a decision as roles for the workflow's own policy, and give no right here. A
group `tenant:<id>` says whose workflows a person sees when the setting TENANCY is `attribute`; viewers of
another tenant then get 404, so that not even an id is confirmed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django_htmx.middleware import HtmxDetails
from temporalio.client import Client

from dashboard.conf import conf
from workers.client.attributes import TENANT_ID
from workers.client.connection import get_client
from workers.client.visibility import quote
from workers.conf import conf as workers_conf

P = ParamSpec("P")
TENANT_PREFIX = "tenant:"


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
    login but those that name a tenant."""

    name: str
    roles: frozenset[str] = frozenset()
    tenant: str | None = None
    superuser: bool = False
    namespace: str = field(default_factory=default_namespace)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a permission is checked on: one run, with its namespace and with the tenant that its own
    TenantId attribute names."""

    namespace: str
    workflow_id: str
    run_id: str
    tenant: str | None


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


def viewer_from(user: AbstractBaseUser | AnonymousUser, namespace: str = "") -> Viewer:
    """The viewer of a signed-in user in a namespace (by default the configured one); reads the groups from
    the database. Raises LoginRequired."""
    if not isinstance(user, User) or not user.is_active:
        raise LoginRequired
    names = set(user.groups.values_list("name", flat=True))
    tenants = sorted(name.removeprefix(TENANT_PREFIX) for name in names if name.startswith(TENANT_PREFIX))
    roles = frozenset(name for name in names if not name.startswith(TENANT_PREFIX))
    where = namespace or default_namespace()
    return Viewer(user.get_username(), roles, tenants[0] if tenants else None, user.is_superuser, where)


async def viewer_of(request: HttpRequest, namespace: str = "") -> Viewer:
    """The viewer of a request. Raises LoginRequired."""
    return await sync_to_async(viewer_from)(await request.auser(), namespace)


def _hidden(viewer: Viewer, subject: Subject | None) -> bool:
    """Whether a subject is of another namespace or tenant than the viewer's."""
    if subject is None:
        return False
    if subject.namespace != viewer.namespace:
        return True
    if conf().tenancy == "off" or viewer.superuser:
        return False
    return viewer.tenant is None or subject.tenant != viewer.tenant


def may(viewer: Viewer, permission: Permission, subject: Subject | None = None) -> str:
    """Empty when it is allowed, else the reason as a sentence, to stand beside a disabled button."""
    if viewer.superuser:
        return "There is no such workflow." if _hidden(viewer, subject) else ""
    if not viewer.roles.intersection(ROLES):
        return "Your account has no role yet. Ask an administrator to add you to one."
    if conf().tenancy == "attribute" and viewer.tenant is None:
        return "Your account belongs to no tenant. Ask an administrator to add you to one."
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


def scope(viewer: Viewer) -> str:
    """The visibility clause that every query of this viewer carries; empty when nothing is to be hidden.

    Raises Forbidden for a viewer without a tenant: no clause may ever widen by accident.
    """
    if conf().tenancy == "off" or viewer.superuser:
        return ""
    if viewer.tenant is None:
        raise Forbidden(may(viewer, Verb.VIEW))
    return f"{TENANT_ID.name} = {quote(viewer.tenant)}"


async def client_for(viewer: Viewer) -> Client:
    """The client of the viewer's namespace. Raises UnknownNamespace, TemporalUnavailable."""
    if viewer.namespace != default_namespace():
        raise UnknownNamespace(viewer.namespace)
    return await get_client()


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
            if permission:
                authorise(viewer, permission)
            if not served:
                raise UnknownNamespace(namespace)
            return await view(request, *args, **kwargs)  # type: ignore[arg-type]

        return cast(Guarded[P], wraps(view)(guarded))

    return decorate
