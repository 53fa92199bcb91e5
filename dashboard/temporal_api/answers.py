"""What workflows answer: their queries, made only where they declare them, within the time that a page
has.

A query needs a worker, so it may fail where everything else is well. Answers are kept by run; a page
takes what has arrived when its time is up, and the last answer with its age for the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue

from dashboard import extend
from dashboard.bounded import Bounded, size_of
from dashboard.conf import conf as console
from dashboard.temporal_api.budget import ANSWER_BYTES, OFF_LOOP
from dashboard.temporal_api.describe import describe
from dashboard.temporal_api.rows import attributes_of
from dashboard.temporal_api.shared_breaker import shared_view
from dashboard.temporal_api.tolerant import read
from workers.client.attributes import TENANT_ID
from workers.client.connection import has_pollers
from workers.client.errors import (
    NoAnswer,
    QueryFailed,
    RunNotFound,
    TemporalError,
    TemporalUnavailable,
    rpc_errors,
)
from workers.client.tenants import PLATFORM_TENANT
from workers.conf import conf
from workers.contracts import Query, WaitingFor
from workers.patterns.breaker.names import breaker_id
from workers.payloads.errors import PayloadOversized
from workers.payloads.limits import at_most
from workers.payloads.redaction import redact, redact_text

METADATA = "__temporal_workflow_metadata"
FRESH = 0.5  # seconds
INTERFACE_FRESH_SECONDS = 300.0  # a deployment changes the build and so the key
KEPT = 500
KEPT_BYTES = 32 * 1024 * 1024  # of the answers of all runs
KEPT_SECONDS = 3600.0
# Under this name, an answer is not the run's own, but that of the breaker that holds it.
BREAKER = f"{Query.CIRCUIT} of the breaker"


class Unpolled(NoAnswer):
    """No worker polls the queue of the workflow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer to one query with when it came, and why there is no newer one. `value` is plain
    JSON."""

    value: Any = None
    at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """Queries and signals that a workflow says it has."""

    queries: frozenset[str] = frozenset()
    signals: frozenset[str] = frozenset()


@dataclass(slots=True)
class RunAnswers:
    """The answers of one run by query. `no_answer`: why it does not answer; empty when it does.
    `unpolled`: because no worker polls its queue."""

    by_query: dict[str, Answer] = field(default_factory=dict)
    interface: Interface | None = None
    no_answer: str = ""
    unpolled: bool = False
    queried_at: float = 0.0
    asking: asyncio.Task[None] | None = None
    events: int = 0

    def after(self, events: int) -> RunAnswers:
        """The same answers for a longer history; an answer still on its way here is too old for it."""
        return RunAnswers(dict(self.by_query), self.interface, self.no_answer, self.unpolled, events=events)

    def put(self, name: str, value: Any) -> None:
        """A fresh answer."""
        self.by_query[name] = Answer(value, datetime.now(UTC))

    def silent(self, error: TemporalError) -> None:
        """The run itself does not answer."""
        self.no_answer, self.unpolled = error.message, isinstance(error, Unpolled)

    def fail(self, name: str, problem: str) -> None:
        """The last answer stays, with why there is no newer one."""
        old = self.by_query.get(name, Answer())
        self.by_query[name] = Answer(old.value, old.at, redact_text(problem))


@dataclass(frozen=True, slots=True)
class QueryTarget:
    """Which run is queried: `kind` is what its interface_of is shared by (its type and build, or the run
    alone); `events` is the length of its history, of which its state is a function; `tenant` is what its own
    TenantId says."""

    workflow_id: str
    run_id: str
    queue: str
    kind: str
    waiting_for: tuple[str, ...]
    events: int = 0
    tenant: str | None = None


def _weigh(known: RunAnswers) -> int:
    return size_of((known.by_query, known.interface))


_known: Bounded[tuple[str, str, str], RunAnswers] = Bounded(
    largest=KEPT_BYTES, seconds=KEPT_SECONDS, entries=KEPT, weigh=_weigh
)
_interfaces: Bounded[tuple[str, str], tuple[float, Interface]] = Bounded(
    largest=KEPT_BYTES // 4, seconds=KEPT_SECONDS, entries=KEPT
)
_queues: Bounded[tuple[str, str, str], str] = Bounded(
    largest=KEPT_BYTES // 4, seconds=KEPT_SECONDS, entries=KEPT
)


async def _queue_of(client: Client, handle: WorkflowHandle[Any, Any]) -> str:
    """The queue of a run, from describe; it never changes for a run."""
    key = (client.namespace, handle.id, handle.run_id or "")
    known = _queues.get(key) if handle.run_id else None
    if known is None:
        described = await describe(client, handle.id, handle.run_id or "")
        known = _queues.put(key, described.execution_config.task_queue.name)
    return known


async def query(
    client: Client,
    handle: WorkflowHandle[Any, Any],
    name: str,
    *,
    args: Sequence[Any] = (),
    queue: str = "",
    hint: Any = None,
    seconds: float | None = None,
) -> Any:
    """Ask a workflow one query; its answer as plain JSON, redacted. It gets `seconds` (default: the setting
    for all calls of Temporal).

    Raises Unpolled at once where no worker polls, NoAnswer when none answered in time; QueryFailed for a
    handler that raised, an unknown query or an answer that cannot be decoded; RunNotFound,
    TemporalUnavailable.
    """
    if not await has_pollers(client, queue or await _queue_of(client, handle)):
        raise Unpolled("No worker answers: none polls the queue of this workflow.")
    rpc_timeout = timedelta(seconds=conf().rpc_timeout if seconds is None else max(seconds, 0.01))
    try:
        with rpc_errors(), at_most(ANSWER_BYTES):
            raw = await handle.query(
                str(name), args=list(args), result_type=RawValue, rpc_timeout=rpc_timeout
            )
        return await _answer(client, raw.payload, hint)
    except TemporalUnavailable as error:
        # With a server that answers describe, a query that runs out of time is a worker that is stuck.
        raise NoAnswer("The worker did not answer in time.") from error
    except TemporalError:
        raise
    except PayloadOversized as error:
        raise QueryFailed(f"The answer is too large to show: more than {error.limit:,} bytes.") from error
    except Exception as error:
        if isinstance(error, (MemoryError, OSError)):
            raise
        raise QueryFailed("The answer cannot be decoded here.") from error


async def _answer(client: Client, payload: Payload, hint: Any) -> Any:
    """The value of an answer, redacted. Raises PayloadOversized, and what a converter raises."""
    if len(payload.data) > ANSWER_BYTES:
        raise PayloadOversized(ANSWER_BYTES)
    converter, hints = client.data_converter.payload_converter, [hint] if hint else None

    def convert() -> Any:
        return redact(converter.from_payloads([payload], hints)[0])

    return convert() if len(payload.data) < OFF_LOOP else await asyncio.to_thread(convert)


def kind_of(described: DescribeWorkflowExecutionResponse) -> str:
    """Runs of one type, queue and build declare the same; without a build only the run itself does."""
    info = described.workflow_execution_info
    build = info.most_recent_worker_version_stamp.build_id
    if not build:
        return f"{info.execution.workflow_id}\n{info.execution.run_id}"
    return f"{info.type.name}\n{described.execution_config.task_queue.name}\n{build}"


async def interface_of(
    client: Client,
    handle: WorkflowHandle[Any, Any],
    kind: str,
    queue: str,
    *,
    seconds: float | None = None,
) -> Interface:
    """What a workflow declares, kept for five minutes by its kind, and for longer while no worker answers.
    `seconds`: as for `query`. Raises NoAnswer, RunNotFound, TemporalUnavailable."""
    key = (client.namespace, kind)
    at, interface = _interfaces.get(key) or (0.0, None)
    if interface is None or time.monotonic() - at > INTERFACE_FRESH_SECONDS:
        try:
            answer = await query(
                client, handle, METADATA, queue=queue, hint=WorkflowMetadata, seconds=seconds
            )
        except QueryFailed:  # an SDK that does not describe itself: there is nothing we may ask
            answer = WorkflowMetadata()
        except NoAnswer:
            if interface is None:
                raise
            return interface
        found = answer.definition
        queries = frozenset(item.name for item in found.query_definitions)
        interface = Interface(queries, frozenset(item.name for item in found.signal_definitions))
        _interfaces.put(key, (time.monotonic(), interface))
    return interface


async def _one(known: RunAnswers, label: str, answer: Awaitable[Any]) -> None:
    try:
        known.put(label, await answer)
    except NoAnswer as error:
        known.fail(label, error.message)
        if label != BREAKER:
            known.silent(error)
    except RunNotFound:
        known.fail(label, "There is no such workflow.")
    except TemporalError as error:
        known.fail(label, error.message)


async def _breaker(client: Client, target: QueryTarget, dependency: str) -> Any:
    """What the breaker says that holds a run. With tenants, only the platform's and the run's own are
    queried: `dependency` is any text that a workflow wrote. Raises as `query` does."""
    handle = client.get_workflow_handle(breaker_id(dependency))
    if console().tenancy == "off":
        return await query(client, handle, Query.CIRCUIT)
    described = await describe(client, handle.id)
    info = described.workflow_execution_info
    tenant = attributes_of(info.search_attributes.indexed_fields).get(TENANT_ID.name)
    if tenant not in (PLATFORM_TENANT, target.tenant):
        raise RunNotFound("There is no such workflow.")
    answer = await query(client, handle, Query.CIRCUIT, queue=described.execution_config.task_queue.name)
    return answer if tenant == target.tenant else shared_view(answer)


async def _ask(client: Client, known: RunAnswers, target: QueryTarget) -> None:
    """Everything about one run, side by side; each answer is kept as it arrives."""
    handle = client.get_workflow_handle(target.workflow_id, run_id=target.run_id)
    dependencies = WaitingFor.dependencies(target.waiting_for)[:1]
    jobs = [_one(known, BREAKER, _breaker(client, target, dependency)) for dependency in dependencies]
    try:
        known.interface = await interface_of(client, handle, target.kind, target.queue)
        known.no_answer = ""
    except (NoAnswer, TemporalUnavailable) as error:
        known.silent(error)
    except RunNotFound:
        known.no_answer = "This run is gone."
    if known.interface and not known.no_answer:
        wanted = {str(Query.STATUS), *(panel.query for panel in extend.panels())}
        names = sorted(wanted & known.interface.queries)
        jobs += [_one(known, name, query(client, handle, name, queue=target.queue)) for name in names]
    await asyncio.gather(*jobs)
    known.queried_at = time.monotonic()
    key = (client.namespace, target.workflow_id, target.run_id)
    if _known.get(key) is known:
        _known.put(key, known)  # heavier by what it answered


def models(known: RunAnswers) -> dict[str, Any]:
    """What a run answered, as the models of the panels, by query; without what cannot be read."""
    found = {}
    for panel in extend.panels():
        answer = known.by_query.get(panel.query)
        if panel.model and answer and answer.at and (model := read(panel.model, answer.value)[0]):
            found[panel.query] = model
    return found


def latest_answers(namespace: str, workflow_id: str, run_id: str) -> RunAnswers:
    """What a run answered when it was last read, without reading anything."""
    return _known.get((namespace, workflow_id, run_id)) or RunAnswers()


async def ask(client: Client, target: QueryTarget, max_wait: float) -> RunAnswers:
    """What a run answers, as far as it is known after `max_wait` seconds. Readers of one run share the
    queries; an answer that comes later is there for the next read."""
    key = (client.namespace, target.workflow_id, target.run_id)
    known = _known.get(key) or RunAnswers()
    if known.events != target.events:
        known = known.after(target.events)
    _known.put(key, known)
    loop = asyncio.get_running_loop()
    under_way = known.asking if known.asking and not known.asking.done() else None
    if under_way is None or under_way.get_loop() is not loop:
        if known.queried_at and time.monotonic() - known.queried_at < FRESH:
            return known
        under_way = known.asking = asyncio.create_task(_ask(client, known, target))
    done, _ = await asyncio.wait({under_way}, timeout=max_wait)
    for task in done:
        task.result()  # anything that _ask did not foresee is a bug and must be seen
    return known
