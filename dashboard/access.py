"""Who may do what: every read and every action passes here.

Roles are Django groups (`dashboard.roles` makes them), and an action brings its own permission. Other groups,
such as `finance`, travel with a decision as roles for the workflow's own policy, and give no right here. A
group `tenant:<id>` says whose workflows a person sees when the setting TENANCY is `attribute`; then those of
another tenant are 404, so that not even an id is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.http import Http404

from dashboard.conf import conf
from workers.client.attributes import TENANT_ID
from workers.client.visibility import quote

ROLES = ("viewer", "operator", "approver", "admin")


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role may do. `phrase` completes the sentence "Your role may not …"; `roles` have the permission,
    and admin has every one."""

    phrase: str
    roles: frozenset[str] = frozenset()


class Verb:
    """The permissions of the pages. Those of actions stand in the modules of the actions."""

    VIEW = Permission("look at workflows", frozenset({"viewer", "operator", "approver"}))
    AUDIT = Permission("read the audit log", frozenset({"operator"}))


@dataclass(frozen=True, slots=True)
class Viewer:
    """The signed-in person. `roles` are the names of all groups of the login but those that name a tenant."""

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
    """403; the message is a sentence that says what is missing and which role it takes."""


class Hidden(Http404):
    """404: of another tenant, so it does not exist for this viewer."""


def _stranger(viewer: Viewer, subject: Subject | None) -> bool:
    if subject is None or conf().tenancy == "off" or viewer.superuser:
        return False
    return viewer.tenant is None or subject.tenant != viewer.tenant


def may(viewer: Viewer, permission: Permission, subject: Subject | None = None) -> str:
    """Empty when it is allowed, else the reason as a sentence, to stand beside a disabled button."""
    if viewer.superuser:
        return ""
    if not viewer.roles.intersection(ROLES):
        return "Your account has no role yet. Ask an administrator to add you to one."
    if conf().tenancy == "attribute" and viewer.tenant is None:
        return "Your account belongs to no tenant. Ask an administrator to add you to one."
    if _stranger(viewer, subject):
        return "There is no such workflow."
    able = [role for role in ROLES if role in permission.roles or role == "admin"]
    if viewer.roles.intersection(able):
        return ""
    return f"Your role may not {permission.phrase}. Requires the role {' or '.join(able)}."


def authorise(viewer: Viewer, permission: Permission, subject: Subject | None = None) -> None:
    """Pass, or raise Forbidden (403), or Hidden (404) for what belongs to another tenant."""
    if reason := may(viewer, permission, subject):
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
