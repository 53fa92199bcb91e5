"""Which tenant a run belongs to: what names it, and whether that agrees. Pure; knows no SDK call.

Three things may name the tenant of a run: the header that `launch` sends, the TenantId search attribute, and
the part of the workflow id before `~`. The ids of the platform's own tenant have none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from temporalio.exceptions import ApplicationError

PLATFORM_TENANT = "default"
"""The tenant of runs that were started without one, and of what serves all, such as shared breakers."""
SEPARATOR = "~"
REFUSED = "TenantRefused"
"""The failure of a run or activity whose tenant is in doubt: no worker will ever take it."""
OTHER_TENANT = "OtherTenant"
"""The failure of an activity on a worker that does not work for its tenant: another worker may take it."""


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


def tenant_conflict(header: str | None, attribute: str | None, workflow_id: str) -> str | None:
    """Why it is in doubt whose this run is, in one sentence; None when it is not."""
    named = {
        "the header": header,
        "the TenantId attribute": attribute,
        "the workflow id": prefix_of(workflow_id),
    }
    known = {source: name for source, name in named.items() if name}
    if len(set(known.values())) < 2:
        return None
    sources = ", ".join(f"{source} names {name}" for source, name in known.items())
    return f"The tenant of this run is in doubt: {sources}."


def not_served(tenant: str | None, allowed: Collection[str]) -> str | None:
    """Why a worker for the tenants `allowed` (empty: all) does not work for `tenant`; None when it does."""
    if not allowed or tenant == PLATFORM_TENANT or tenant in allowed:
        return None
    return f"This worker does not work for tenant {tenant}." if tenant else "This run names no tenant."


def group_queue(queue: str, tenant: str | None, suffixes: Mapping[str, str]) -> str:
    """The queue of the tenant's group in place of `queue`: `<queue>-<suffix>`, or `queue` without a group."""
    suffix = suffixes.get(tenant or "")
    return f"{queue}-{suffix}" if suffix else queue


def refused(problem: str) -> ApplicationError:
    return ApplicationError(problem, type=REFUSED, non_retryable=True)
