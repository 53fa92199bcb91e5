"""The role groups and what each may do in the Django admin.

`migrate` calls `ensure` when it is done, so a database always has the roles. The console's own rights are
those of `dashboard.access`; permissions of Django count in the admin and in APIs of apps: they let people
look, and the role admin add what an app lets be added, and change what is switched at run time. Actions on
orders run through the console's actions, which check the role again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.core import checks
from django.db import DatabaseError

from dashboard.access import ROLES, TENANT_PREFIX, tenants_in
from dashboard.conf import conf

# Who works in the Django admin: login needs is_staff, which an administrator sets with the role.
STAFF = ("operator", "approver", "admin")
ACCOUNTS = {"auth.user", "auth.group", "axes.accessattempt"}
SWITCHES = {"workers.featureflag", "workers.tenantactivity"}


def _granted(role: str, permission: Permission) -> bool:
    model = f"{permission.content_type.app_label}.{permission.content_type.model}"
    if role == "admin" and model in ACCOUNTS | SWITCHES:
        return True
    if model in SWITCHES:
        return permission.codename.startswith("view_")
    if model == "dashboard.auditentry":
        return role in {"operator", "admin"} and permission.codename.startswith("view_")
    verbs = ("view_", "add_") if role == "admin" else ("view_",)
    return permission.content_type.app_label in conf().apps and permission.codename.startswith(verbs)


def ensure(**_: Any) -> None:
    """Make the groups and their permissions; any number of times. Adds what is missing, takes nothing
    away."""
    labels = [*conf().apps, "dashboard", "workers", "auth", "axes"]
    for label in labels:
        create_permissions(apps.get_app_config(label), verbosity=0)
    known = list(Permission.objects.filter(content_type__app_label__in=labels).select_related("content_type"))
    for role in ROLES:
        group, _created = Group.objects.get_or_create(name=role)
        if role in STAFF:
            group.permissions.add(*(permission for permission in known if _granted(role, permission)))


@checks.register(checks.Tags.database)
def check_tenant_groups(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **_: Any
) -> list[checks.CheckMessage]:
    """Warn of groups that look like a tenant and give none: that of the platform's own tenant, and names that
    no tenant can have. `migrate` runs it, and `check --database default`."""
    if "default" not in (databases or ()):
        return []
    try:
        names = [*Group.objects.filter(name__startswith=TENANT_PREFIX).values_list("name", flat=True)]
    except DatabaseError:  # before the first migrate
        return []
    return [
        checks.Warning(
            f"The group {name!r} gives its members no tenant.",
            hint="The tenant of the platform has no members: make them superusers. The name of a tenant has "
            "1 to 60 characters, without ~, / and spaces.",
            id="dashboard.W001",
        )
        for name in sorted(names)
        if not tenants_in([name])
    ]
