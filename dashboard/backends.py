"""An authentication backend that signs in no account, and refuses what with tenants is the platform's.

A person who can change accounts and groups can join any tenant and become a superuser, and a switch applies
to every tenant's workflows. With TENANCY=attribute both are for superusers, whatever a role permits.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied

from dashboard.conf import conf

PLATFORM_APPS = frozenset({"auth", "axes", "workers"})


class TenantLimits:
    """Stands before the backend that permits; Django lets superusers pass without either."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        return self.has_module_perms(user, permission.partition(".")[0])

    def has_module_perms(self, user: Any, app_label: str) -> bool:
        if conf().tenancy == "attribute" and app_label in PLATFORM_APPS:
            raise PermissionDenied
        return False

    async def ahas_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        return self.has_perm(user, permission)

    async def ahas_module_perms(self, user: Any, app_label: str) -> bool:
        return self.has_module_perms(user, app_label)
