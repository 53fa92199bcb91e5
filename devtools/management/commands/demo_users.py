"""`manage.py demo_users`: one login for each role, to try the console with."""

from __future__ import annotations

import os
import secrets
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError

from dashboard import roles
from dashboard.access import TENANT_PREFIX
from dashboard.conf import conf
from workers.client.tenants import PLATFORM_TENANT
from workers.conf import conf as workers_conf

DEMO_TENANT = "demo"
PEOPLE: dict[str, tuple[str, ...]] = {
    "viewer": ("viewer",),
    "operator": ("operator",),
    "approver": ("approver",),
    "finance": ("approver", "finance"),
    "admin": ("admin", "approver"),
}


def demo_tenant() -> str:
    """The tenant of the demo's users and orders; empty without tenants. The platform's own has no members."""
    if conf().tenancy == "off":
        return ""
    tenant = workers_conf().tenant
    return DEMO_TENANT if tenant == PLATFORM_TENANT else tenant


def person(name: str, groups: tuple[str, ...], password: str | None = None) -> tuple[User, bool]:
    """Get or make a user in exactly these groups; a password is set when given. Whether it is new."""
    user, new = User.objects.get_or_create(username=name)
    user.is_staff = bool(set(groups) & set(roles.STAFF))
    if password is not None and not user.check_password(password):  # the same one again would end sessions
        user.set_password(password)
    elif new:
        user.set_unusable_password()
    user.save()
    user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    return user, new


class Command(BaseCommand):
    help = (
        "Make the demo users viewer, operator, approver, finance and admin. Their password is DEMO_PASSWORD; "
        "without it, new users get one that is made and printed once, and old ones keep theirs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not conf().development:
            raise CommandError("Demo users, whose names are known, need SIGNALBOX_MODE=development.")
        roles.ensure()
        given = os.environ.get("DEMO_PASSWORD")
        missing = set(PEOPLE) - set(User.objects.values_list("username", flat=True))
        made = None if given or not missing else secrets.token_urlsafe(12)
        tenants = (f"{TENANT_PREFIX}{tenant}",) if (tenant := demo_tenant()) else ()
        for name, groups in PEOPLE.items():
            person(name, (*groups, *tenants), given or (made if name in missing else None))
        names = ", ".join(PEOPLE)
        if made:
            self.stdout.write(f"Demo users {names}: the password of the new ones is {made}")
        else:
            self.stdout.write(
                f"Demo users {names}: the password is {'DEMO_PASSWORD' if given else 'as before'}."
            )
