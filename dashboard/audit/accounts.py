"""What happens to accounts and switches, in the audit log: logins, lockouts, groups, changes in the admin.

The receivers write in the transaction of the change, so a change that cannot be recorded is not made.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from axes.helpers import get_cool_off
from axes.signals import user_locked_out
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import AbstractBaseUser, Group, User
from django.contrib.auth.signals import user_logged_in
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.http import HttpRequest

from dashboard.audit import log
from dashboard.models import AuditEntry
from dashboard.web.middleware import current_request
from workers.models import FeatureFlag, TenantActivity

COMMAND = "command line"  # the actor of what no request did
VERBS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}
LOGIN, LOCKED_OUT, ROLES, SWITCH_SET, SWITCH_REMOVED = (
    "login",
    "locked out",
    "roles changed",
    "switch set",
    "switch removed",
)
EVENTS = (LOGIN, LOCKED_OUT, ROLES, SWITCH_SET, SWITCH_REMOVED, *(f"admin {verb}" for verb in VERBS.values()))


def _actor() -> str:
    user = getattr(current_request.get(), "user", None)
    return user.get_username() if user is not None and user.is_authenticated else COMMAND


def _logged_in(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    log.record(user.get_username(), LOGIN, f"from {getattr(request, 'axes_ip_address', None) or 'here'}")


def _locked_out(username: str | None, ip_address: str, **_: Any) -> None:
    """Once for a lock: every further try sends the signal again."""
    actor, detail = (username or "")[: log.ACTOR_LENGTH], f"from {ip_address}"
    since = datetime.now(UTC) - (get_cool_off() or datetime.resolution)
    known = AuditEntry.objects.filter(actor=actor, action=LOCKED_OUT, detail=detail, at__gt=since)
    if not known.exists():
        log.record(actor, LOCKED_OUT, detail)


def _groups_changed(instance: Model, action: str, reverse: bool, pk_set: set[int] | None, **_: Any) -> None:
    """`instance` is the user, or where `reverse`, the group to which users were added."""
    verb = {"post_add": "added to", "post_remove": "removed from", "pre_clear": "removed from"}.get(action)
    if verb is None or (pk_set is not None and not pk_set):
        return
    if isinstance(instance, Group):
        users, groups = User.objects.all(), [instance.name]
        users = users.filter(pk__in=pk_set) if pk_set else users.filter(groups=instance)
        names = [*users.values_list("username", flat=True)]
    elif isinstance(instance, User):
        found = Group.objects.filter(pk__in=pk_set) if pk_set else instance.groups.all()
        names, groups = [instance.get_username()], [*found.values_list("name", flat=True)]
    if names and groups:
        detail = f"{', '.join(sorted(names))}: {verb} {', '.join(sorted(groups))}"
        log.record(_actor(), ROLES, detail)


def _admin_changed(instance: LogEntry, created: bool, **_: Any) -> None:
    if created:
        what = f"{instance.content_type} {instance.object_repr}: {instance.get_change_message()}"
        log.record(instance.user.get_username(), f"admin {VERBS.get(instance.action_flag, 'changed')}", what)


def _switched(instance: Model, **signal: Any) -> None:
    action = SWITCH_SET if "created" in signal else SWITCH_REMOVED
    log.record(_actor(), action, f"{instance._meta.verbose_name} {instance}")


def connect() -> None:
    """Called once, when the apps are ready."""
    user_logged_in.connect(_logged_in)
    user_locked_out.connect(_locked_out)
    m2m_changed.connect(_groups_changed, sender=User.groups.through)
    post_save.connect(_admin_changed, sender=LogEntry)
    for model in (FeatureFlag, TenantActivity):
        post_save.connect(_switched, sender=model)
        post_delete.connect(_switched, sender=model)
