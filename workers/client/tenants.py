"""Whose a run is: what names its tenant, and whether that agrees. Pure; knows no SDK call.

Three things may name the tenant of a run: the header that `launch` sends, the TenantId search attribute, and
the part of the workflow id before `~`. The ids of the platform's own tenant have none.
"""

from __future__ import annotations

from collections.abc import Collection

from temporalio.exceptions import ApplicationError

PLATFORM_TENANT = "default"
"""The tenant of who does not know of tenants, and of what serves all of them, such as shared breakers."""
SEPARATOR = "~"
REFUSED = "TenantRefused"


def full_id(own: str, tenant: str) -> str:
    """The workflow id: as it is for the default tenant, else `<tenant>~<own>`. ValueError for a `~`."""
    if not own or SEPARATOR in own or SEPARATOR in tenant:
        raise ValueError(
            f"{SEPARATOR!r} may stand neither in a workflow id nor in a tenant, and an id is needed."
        )
    return own if tenant == PLATFORM_TENANT else f"{tenant}{SEPARATOR}{own}"


def prefix_of(workflow_id: str) -> str | None:
    """The tenant that an id names; None for one without."""
    prefix, found, _ = workflow_id.partition(SEPARATOR)
    return prefix if found else None


def tenant_of(header: str | None, attribute: str | None, workflow_id: str) -> str | None:
    """The tenant of a run by what names it; None when nothing does."""
    return header or attribute or prefix_of(workflow_id)


def disagreement(
    header: str | None, attribute: str | None, workflow_id: str, allowed: Collection[str] = ()
) -> str | None:
    """Why work on this run must not begin, in one sentence; None when it may. `allowed`: empty for all."""
    named = {
        "the header": header,
        "the TenantId attribute": attribute,
        "the workflow id": prefix_of(workflow_id),
    }
    known = {source: name for source, name in named.items() if name}
    if len(set(known.values())) > 1:
        told = ", ".join(f"{source} names {name}" for source, name in known.items())
        return f"The tenant of this run is in doubt: {told}."
    tenant = next(iter(known.values()), None)
    if not allowed or tenant == PLATFORM_TENANT or tenant in allowed:
        return None
    return f"This worker does not work for tenant {tenant}." if tenant else "This run names no tenant."


def refused(problem: str) -> ApplicationError:
    return ApplicationError(problem, type=REFUSED, non_retryable=True)
