"""How a workflow is started: on its registered queue, with tenant and environment, and at most once an id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from workers import attributes as platform
from workers.conf import conf
from workers.connection import get_client
from workers.errors import TemporalError, rpc_errors
from workers.interceptors.tenancy import acting_for
from workers.registry import registry, workflow_name
from workers.tenants import full_id

# An attribute that was there stays: what each client has seen is not asked again.
_seen: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()


class AttributesMissing(TemporalError):
    """The namespace lacks search attributes, `names`. A run started without them would get stuck."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(
            f"Temporal lacks the search attributes {', '.join(names)}. Starting a worker registers them."
        )


async def _demand_attributes(client: Client, keys: Iterable[platform.Key]) -> None:
    seen = _seen.setdefault(client, set())
    wanted = [key for key in keys if key.name not in seen]
    if not wanted:
        return
    absent = await platform.missing(client, wanted)
    if absent:
        raise AttributesMissing(absent)
    seen.update(key.name for key in wanted)


async def launch(
    workflow: type | str | Callable[..., Any],
    input: Any,  # noqa: A002 (a workflow's input is called so)
    *,
    id: str,  # noqa: A002
    attributes: Sequence[SearchAttributePair[Any]] = (),
    memo: Mapping[str, Any] | None = None,
    summary: str = "",
    tenant: str | None = None,
    reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    client: Client | None = None,
) -> WorkflowHandle[Any, Any]:
    """Start `workflow` (class, run method or type name) and return its handle.

    An id starts once: while its run is open, and after it closed unless `reuse` allows another, that run's
    handle comes back, so that a repeated call has one effect. `summary`: one line for lists, 400 bytes.
    `tenant`: default from the settings.
    Raises ValueError for a `~` in id or tenant, RegistryError for a workflow without a queue,
    AttributesMissing, TemporalAway.
    """
    registry.load()
    settings = conf()
    tenant = tenant or settings.tenant
    workflow_id, queue = full_id(id, tenant), registry.queue_of(workflow)
    pairs = [
        SearchAttributePair(platform.TENANT_ID, tenant),
        SearchAttributePair(platform.ENVIRONMENT_ID, settings.environment),
        *attributes,
    ]
    client = client or await get_client()
    await _demand_attributes(
        client, [*platform.PLATFORM, *registry.attributes, *(pair.key for pair in pairs)]
    )
    try:
        with rpc_errors(), acting_for(tenant, settings.environment):
            return await client.start_workflow(
                workflow_name(workflow),
                input,
                id=workflow_id,
                task_queue=queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=reuse,
                search_attributes=TypedSearchAttributes(pairs),
                memo=memo,
                static_summary=summary or None,
                rpc_timeout=timedelta(seconds=settings.rpc_timeout),
            )
    except WorkflowAlreadyStartedError as error:
        return client.get_workflow_handle(workflow_id, run_id=error.run_id)
