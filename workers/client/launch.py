"""How a workflow is started: on its registered queue, with tenant and environment, and at most once an id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack
from weakref import WeakKeyDictionary

from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from workers.client import attributes as platform
from workers.client.connection import get_client
from workers.client.digest import digest
from workers.client.errors import TemporalError, rpc_errors
from workers.client.launchable import declared
from workers.client.lifecycle import record_start
from workers.client.tenancy import tenant_context
from workers.client.tenants import full_id, group_queue
from workers.conf import conf
from workers.contracts.lifecycle import LIFECYCLE_HEADER
from workers.registry.registry import registry, workflow_name

INPUT_MEMO = "signalbox_input"
"""The memo entry with the digest of what makes two launches of one id the same."""
AUDIT_MEMO = "signalbox_audit"
"""The memo entry of runs whose start and end belong in the audit."""

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


@dataclass(frozen=True)
class _Plan:
    """A start with everything decided."""

    type: str
    id: str
    queue: str
    tenant: str
    input: Any
    pairs: list[SearchAttributePair[Any]]
    memo: dict[str, Any]
    summary: str
    priority: Priority
    reuse: WorkflowIDReusePolicy
    audited: bool


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
    plan = _plan(workflow, input, options)
    client = client or await get_client()
    keys = [*platform.PLATFORM, *registry.attributes, *(pair.key for pair in plan.pairs)]
    await _demand_attributes(client, keys)
    try:
        handle = await _start(client, plan)
    except WorkflowAlreadyStartedError as error:
        return await _existing(client, plan, error.run_id, any_input)
    if plan.audited:
        await record_start(plan.id, handle.first_execution_run_id or "", plan.type, plan.tenant)
    return handle


def _plan(
    workflow: type | str | Callable[..., Any],
    input: Any,  # noqa: A002
    options: Options,
) -> _Plan:
    settings, how = conf(), declared(workflow)
    tenant = options.get("tenant") or settings.tenant
    own = options["id"] if "id" in options else how.id(input) if how.id else None
    if own is None:
        raise ValueError(f"{workflow_name(workflow)} does not declare its id, so launch needs one.")
    given = options["attributes"] if "attributes" in options else how.attributes(input)
    return _Plan(
        type=workflow_name(workflow),
        id=full_id(own, tenant),
        queue=group_queue(registry.queue_of(workflow), tenant, settings.tenant_queues),
        tenant=tenant,
        input=input,
        pairs=[
            SearchAttributePair(platform.TENANT_ID, tenant),
            SearchAttributePair(platform.ENVIRONMENT_ID, settings.environment),
            *given,
        ],
        memo=_memo(options["memo"] if "memo" in options else how.memo(input), how.identity(input)),
        summary=options["summary"] if "summary" in options else how.summary(input),
        priority=options["priority"] if "priority" in options else how.priority(input),
        reuse=options.get("reuse", WorkflowIDReusePolicy.REJECT_DUPLICATE),
        audited=settings.lifecycle_audit,
    )


def _memo(given: Mapping[str, Any], identity: Any) -> dict[str, Any]:
    audited = {AUDIT_MEMO: True} if conf().lifecycle_audit else {}
    return {**given, INPUT_MEMO: digest(identity, exclude_defaults=True), **audited}


async def _demand_attributes(client: Client, keys: Iterable[platform.Key]) -> None:
    seen = _seen.setdefault(client, set())
    wanted = [key for key in keys if key.name not in seen]
    if not wanted:
        return
    absent = await platform.missing(client, wanted)
    if absent:
        raise AttributesMissing(absent)
    seen.update(key.name for key in wanted)


async def _start(client: Client, plan: _Plan) -> WorkflowHandle[Any, Any]:
    """The server decides who comes first: WorkflowAlreadyStartedError for all others."""
    settings = conf()
    headers = {LIFECYCLE_HEADER: "1"} if plan.audited else None
    with rpc_errors(), tenant_context(plan.tenant, settings.environment, headers):
        return await client.start_workflow(
            plan.type,
            plan.input,
            id=plan.id,
            task_queue=plan.queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=plan.reuse,
            search_attributes=TypedSearchAttributes(plan.pairs),
            memo=plan.memo,
            static_summary=plan.summary or None,
            priority=plan.priority,
        )


async def _existing(
    client: Client, plan: _Plan, run_id: str | None, any_input: bool
) -> WorkflowHandle[Any, Any]:
    """The run that has the id, when it is the same. Raises LaunchConflict."""
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(plan.id, run_id=run_id)
    with rpc_errors():
        shown = await handle.describe()
        kept = await shown.memo_value(INPUT_MEMO, None)
    if shown.workflow_type != plan.type:
        raise LaunchConflict(plan.id, f"as a {shown.workflow_type}")
    if not any_input and kept != plan.memo[INPUT_MEMO]:
        raise LaunchConflict(plan.id, "with another input" if kept else "not started by a launch")
    return handle
