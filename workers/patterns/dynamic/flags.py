"""What is switched at run time, in the database: feature flags, and which activity a tenant gets.

Workflow code never reads these: a switch during a run would break its replay. It asks the activities
`resolve_flags` and `resolve_activities` once and keeps the answer (workers/patterns/dynamic/switches.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from workers.client.tenancy import current_tenant
from workers.models import FeatureFlag, TenantActivity


def _tenants(tenant: str | None) -> set[str]:
    return {"", (current_tenant() or "") if tenant is None else tenant}


def flags(names: Iterable[str], tenant: str | None = None) -> dict[str, bool]:
    """Is each flag on? The tenant's row wins over the one for all; an unknown flag is off.

    `tenant` None: the one that this activity or launch works for.
    """
    names = list(names)
    rows = FeatureFlag.objects.filter(name__in=names, tenant__in=_tenants(tenant)).order_by("tenant")
    found = {row.name: row.enabled for row in rows}
    return {name: found.get(name, False) for name in names}


def flag(name: str, tenant: str | None = None) -> bool:
    """Is the flag on? See flags()."""
    return flags([name], tenant)[name]


def implementations(names: Iterable[str], tenant: str | None = None) -> dict[str, str]:
    """Requested activity -> the one that the tenant gets instead; without those that are not switched."""
    wanted = TenantActivity.objects.filter(name__in=list(names), tenant__in=_tenants(tenant))
    return {row.name: row.implementation for row in wanted.order_by("tenant")}
