"""Who may do what: the one place that every read and every act passes.

Roles are Django groups (`dashboard.roles` makes them). Other groups, such as `finance`, travel with a
decision as roles for the workflow's own policy, and give no right here. A group `tenant:<id>` says whose
workflows a person sees when the setting TENANCY is `attribute`; then strangers get 404, so that not even an
id is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from dashboard.conf import conf
from workers.client.attributes import TENANT_ID
from workers.client.visibility import quote

TENANT_PREFIX = "tenant:"


class Verb(StrEnum):
    """What a person can do. The value completes the sentence "you may not …"."""

    VIEW = "view"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    RESOLVE = "resolve"
    WITHDRAW = "withdraw"
    DELEGATE = "delegate"
    PAUSE = "pause"
    BREAKER = "breaker"
    AUDIT = "audit"


ROLES: dict[str, frozenset[Verb]] = {
    # Whoever asked may be in any role; the workflow knows who that was, and refuses the others.
    "viewer": frozenset({Verb.VIEW, Verb.WITHDRAW}),
    "operator": frozenset(
        {Verb.VIEW, Verb.WITHDRAW, Verb.CANCEL, Verb.RESOLVE, Verb.PAUSE, Verb.BREAKER, Verb.AUDIT}
    ),
    "approver": frozenset({Verb.VIEW, Verb.WITHDRAW, Verb.APPROVE, Verb.REJECT, Verb.DELEGATE}),
    "admin": frozenset(Verb),
}
PHRASES = {
    Verb.VIEW: "look at workflows",
    Verb.APPROVE: "approve",
    Verb.REJECT: "reject",
    Verb.CANCEL: "cancel workflows",
    Verb.RESOLVE: "resolve a stuck compensation",
    Verb.WITHDRAW: "withdraw what you asked for",
    Verb.DELEGATE: "hand on a vote",
    Verb.PAUSE: "pause workflows or let them go on",
    Verb.BREAKER: "operate breakers",
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
