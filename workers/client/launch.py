"""How a workflow is started: on its registered queue, with tenant and environment, and at most once an id."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from workers import counters
from workers.client import attributes as platform
from workers.client.connection import get_client
from workers.client.digest import digest
from workers.client.errors import TemporalError, rpc_errors
from workers.client.launchable import declared
from workers.client.tenancy import tenant_context
from workers.client.tenants import full_id, group_queue
from workers.conf import conf
from workers.contracts.lifecycle import LIFECYCLE_HEADER, RECORD, Event, Lifecycle
from workers.registry.registry import activity_name, registry, workflow_name

logger = logging.getLogger(__name__)

INPUT_MEMO = "signalbox_input"
"""The memo entry with the digest of what makes two launches of one id the same."""
AUDIT_MEMO = "signalbox_audit"
"""The memo entry of runs whose start and end belong in the audit."""
_AUDIT_TRIES, _AUDIT_SECONDS = 2, 5.0

# An attribute that was there stays: what each client has seen is not looked up again.
_seen: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()


class AttributesMissing(TemporalError):
    """The namespace lacks search attributes, `names`. A run started without them would get stuck."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(
            f"Temporal lacks the search attributes {', '.join(names)}. Starting a worker registers them."
        )


class LaunchConflict(TemporalError):
    """The id belongs to a run of another type or with another input. Nothing was started or changed."""

    def __init__(self, workflow_id: str, difference: str) -> None:
        self.workflow_id = workflow_id
        super().__init__(f"Workflow {workflow_id} exists already, {difference}. Nothing was changed.")


class Options(TypedDict, total=False):
    """The options of a launch; the first five win over what the workflow declares (see Launchable).

    `tenant`: default from the settings. `reuse`: after the run closed, the id stays taken by default.
    """

    id: str
    attributes: Sequence[SearchAttributePair[Any]]
    memo: Mapping[str, Any]
    summary: str
    priority: Priority
    tenant: str | None
    reuse: WorkflowIDReusePolicy


async def launch(
    workflow: type | str | Callable[..., Any],
    input: Any,  # noqa: A002 (a workflow's input is called so)
    *,
    any_input: bool = False,
    client: Client | None = None,
    **options: Unpack[Options],
) -> WorkflowHandle[Any, Any]:
    """Start `workflow` (class, run method or type name) and return its handle.

    An id starts once: the same type and input get the handle of the run that is there, open or closed, so
    that a repeated call has one effect. Another input is refused, or let be with `any_input`.
    Raises ValueError for no id or a `~` in id or tenant, RegistryError for a workflow without a queue,
    LaunchConflict, AttributesMissing, TemporalUnavailable.
    """
    registry.load()
    settings, kind = conf(), workflow_name(workflow)
    tenant = options.get("tenant") or settings.tenant
    start = _start(workflow, input, tenant, options)
    client = client or await get_client()
    own = [pair.key for pair in start["search_attributes"].search_attributes]
    await _demand_attributes(client, [*platform.PLATFORM, *registry.attributes, *own])
    headers = {LIFECYCLE_HEADER: "1"} if settings.lifecycle_audit else None
    try:
        with rpc_errors(), tenant_context(tenant, settings.environment, headers):
            handle: WorkflowHandle[Any, Any] = await client.start_workflow(kind, input, **start)
    except WorkflowAlreadyStartedError as error:  # the server decides who comes first
        handle = client.get_workflow_handle(start["id"], run_id=error.run_id)
        await _demand_same(handle, kind, None if any_input else start["memo"][INPUT_MEMO])
        return handle
    if settings.lifecycle_audit:
        await _record_start(handle, kind, tenant)
    return handle


def _start(
    workflow: type | str | Callable[..., Any],
    input: Any,  # noqa: A002
    tenant: str,
    options: Options,
) -> dict[str, Any]:
    """The arguments of the SDK's `start_workflow` besides type and input."""
    settings, how = conf(), declared(workflow)

    def chosen(name: str) -> Any:
        return options[name] if name in options else getattr(how, name)(input)  # type: ignore[literal-required]

    if how.id is None and "id" not in options:
        raise ValueError(f"{workflow_name(workflow)} does not declare its id, so launch needs one.")
    memo = {**chosen("memo"), INPUT_MEMO: digest(how.identity(input), exclude_defaults=True)}
    return {
        "id": full_id(chosen("id"), tenant),
        "task_queue": group_queue(registry.queue_of(workflow), tenant, settings.tenant_queues),
        "id_conflict_policy": WorkflowIDConflictPolicy.FAIL,
        "id_reuse_policy": options.get("reuse", WorkflowIDReusePolicy.REJECT_DUPLICATE),
        "search_attributes": TypedSearchAttributes(
            [
                SearchAttributePair(platform.TENANT_ID, tenant),
                SearchAttributePair(platform.ENVIRONMENT_ID, settings.environment),
                *chosen("attributes"),
            ]
        ),
        "memo": {**memo, AUDIT_MEMO: True} if settings.lifecycle_audit else memo,
        "static_summary": chosen("summary") or None,
        "priority": chosen("priority"),
    }


async def _demand_attributes(client: Client, keys: Iterable[platform.Key]) -> None:
    seen = _seen.setdefault(client, set())
    wanted = [key for key in keys if key.name not in seen]
    if not wanted:
        return
    absent = await platform.missing(client, wanted)
    if absent:
        raise AttributesMissing(absent)
    seen.update(key.name for key in wanted)


async def _demand_same(handle: WorkflowHandle[Any, Any], kind: str, wanted: str | None) -> None:
    """Raises LaunchConflict unless the run is of this type and, where a digest is given, of this input."""
    with rpc_errors():
        shown = await handle.describe()
        kept = await shown.memo_value(INPUT_MEMO, None)
    if shown.workflow_type != kind:
        raise LaunchConflict(handle.id, f"as a {shown.workflow_type}")
    if wanted and kept != wanted:
        raise LaunchConflict(handle.id, "with another input" if kept else "not started by a launch")


async def _record_start(handle: WorkflowHandle[Any, Any], kind: str, tenant: str) -> None:
    """Record in the audit that a run began, by the registered activity, called as the plain function it is.

    Never raises: the run goes on whether or not the audit can be written; `auditreconcile` comes later. The
    run id is known only once the run exists, so a run of milliseconds can have its end recorded first.
    """
    record = Lifecycle(
        event=Event.STARTED,
        workflow_id=handle.id,
        run_id=handle.first_execution_run_id or "",
        workflow_type=kind,
        tenant=tenant,
        at=datetime.now(UTC),
    )
    fn = next((fn for fn in registry.shared if activity_name(fn) == RECORD), None)
    if fn is None:
        logger.warning("No app keeps an audit, so the start of %s is not recorded.", handle.id)
        return
    for left in reversed(range(_AUDIT_TRIES)):
        try:
            await asyncio.wait_for(sync_to_async(_called)(fn, record), _AUDIT_SECONDS)
        except Exception as error:
            if not left:
                counters.count("audit_failures")
                logger.warning("The start of %s is not in the audit: %s", handle.id, error)
        else:
            return


def _called(fn: Callable[[Lifecycle], object], record: Lifecycle) -> None:
    close_old_connections()  # outside of requests and activities nothing else does it
    fn(record)
