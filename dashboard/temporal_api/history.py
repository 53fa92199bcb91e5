"""The history of a run in plain sentences, and what its activities did, by activity id.

Read from the newest event backwards, up to a limit: long histories show their end. Retries write no
events, so attempts of a pending activity come from describe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client

from dashboard.temporal_api.budget import HISTORY_BYTES, Budget
from dashboard.temporal_api.events import (
    CUTS,
    DETAILS,
    ENDS,
    LONGEST,
    LONGEST_READ,
    NAMES,
    QUIET,
    STARTS,
    attributes_of,
    event_name,
    reason,
)
from dashboard.temporal_api.failures import decode_failures
from dashboard.temporal_api.rows import moment, texts
from dashboard.temporal_api.senders import SentSignal, sent_signals
from workers.client.errors import AnswerTooLarge, rpc_errors
from workers.conf import conf
from workers.payloads.redaction import redact_text

READ = 300  # events
FIRST_READ = 5  # events, of a history that is larger than HISTORY_BYTES: each may have 2 MB
GROWTH = 4  # times as many of them in the next call, at most
SHOWN = 100


@dataclass(slots=True)
class Span:
    """Something that took time: an activity, a timer or a child. `end` is None while it goes on. `tone` is
    its colour. `attempt` is the one that was started last, as far as the history says."""

    name: str
    kind: str
    start: datetime | None
    end: datetime | None = None
    tone: str = "run"
    attempt: int = 1
    failure: str = ""
    activity_id: str = ""

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return (self.end - self.start).total_seconds() if self.start and self.end else None


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event as a sentence."""

    number: int
    what: str
    detail: str
    at: datetime | None


@dataclass(slots=True)
class History:
    """The newest events first, spans in order of their start, moments at which a person or another workflow
    intervened, input and result as text. `sent` are the signals. `hidden`: the first and the last number of
    the older events that have no line; `unread`: how many older events were not read, so that they have no
    span either."""

    lines: list[EventLine] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    cuts: list[EventLine] = field(default_factory=list)
    input: list[str] = field(default_factory=list)
    result: list[str] = field(default_factory=list)
    failure: str = ""
    hidden: tuple[int, int] | None = None
    unread: int = 0
    sent: list[SentSignal] = field(default_factory=list)

    def earlier(self, activity_id: str) -> int:
        """Attempts of the activities of the same name that ran before this one, as far as they were read: a
        saga runs a step again as `book#2`, such as after a breaker has held it."""
        name = activity_id.partition("#")[0]
        ran = [span for span in self.spans if name and span.activity_id.partition("#")[0] == name]
        return sum(span.attempt for span in ran if span.activity_id != activity_id)

    def activity(self, activity_id: str) -> Span | None:
        """The last span of an activity id."""
        matching = (span for span in reversed(self.spans) if span.activity_id == activity_id)
        return next(matching, None) if activity_id else None


def _end(span: Span, kind: str, attributes: Any, tone: str, at: datetime | None) -> None:
    span.end, span.tone = at, tone
    if "timed_out" in kind:
        span.failure = "timed out"
    if "failure" in attributes.DESCRIPTOR.fields_by_name and attributes.HasField("failure"):
        span.failure = reason(attributes.failure)


class _Reader:
    """Builds a History from events in their order."""

    def __init__(self, sent: Mapping[int, SentSignal]) -> None:
        self.sent = sent
        self.history = History(sent=[*sent.values()])
        self.open: dict[int, Span] = {}
        self.payloads: tuple[list[Payload], list[Payload]] = ([], [])

    def read(self, event: HistoryEvent) -> None:
        """Take in one event."""
        kind, attributes = attributes_of(event)
        at = moment(event.event_time)
        detail = ""
        if kind in STARTS:
            detail = self._start(event, kind, attributes, at)
        elif kind == "activity_task_started" and attributes.scheduled_event_id in self.open:
            span = self.open[attributes.scheduled_event_id]
            span.attempt = attributes.attempt
            detail = f"{span.name}, attempt {attributes.attempt}"
        elif kind in ENDS:
            detail = self._ended(kind, attributes, at)
        elif event.event_id in self.sent:
            detail = self.sent[event.event_id].text
        else:
            self._lifecycle(kind, attributes)
        detail = DETAILS[kind](attributes) if kind in DETAILS and kind not in STARTS else detail
        detail = redact_text(detail[:LONGEST_READ])
        line = EventLine(event.event_id, NAMES.get(kind) or event_name(event), detail[:LONGEST], at)
        if kind not in QUIET:
            self.history.lines.append(line)
        if kind in CUTS:
            self.history.cuts.append(line)

    def _start(self, event: HistoryEvent, kind: str, attributes: Any, at: datetime | None) -> str:
        name, label = STARTS[kind]
        activity_id = attributes.activity_id if name == "activity" else ""
        span = Span(label(attributes), name, at, activity_id=activity_id)
        self.open[event.event_id] = span
        self.history.spans.append(span)
        return DETAILS[kind](attributes) if kind in DETAILS else span.name

    def _ended(self, kind: str, attributes: Any, at: datetime | None) -> str:
        which, tone = ENDS[kind]
        span = self.open.get(getattr(attributes, which))
        if span is None:
            return ""
        _end(span, kind, attributes, tone, at)
        took = f" after {span.seconds:.1f} s" if span.seconds is not None and span.kind != "timer" else ""
        return f"{span.name}{took}{': ' + span.failure if span.failure else ''}"

    def _lifecycle(self, kind: str, attributes: Any) -> None:
        if kind == "workflow_execution_started":
            self.payloads[0].extend(attributes.input.payloads)
        elif kind == "workflow_execution_completed":
            self.payloads[1].extend(attributes.result.payloads)
        elif kind in ("workflow_execution_failed", "workflow_execution_timed_out"):
            self.history.failure = (
                reason(attributes.failure) if kind.endswith("_failed") else "It ran out of time."
            )


async def _first(client: Client, execution: WorkflowExecution, timeout: timedelta) -> Iterable[HistoryEvent]:
    """The event with the input, where the history is too long to be read back to it."""
    request = GetWorkflowExecutionHistoryRequest(
        namespace=client.namespace, execution=execution, maximum_page_size=1
    )
    with rpc_errors():
        answer = await client.workflow_service.get_workflow_execution_history(
            request, retry=True, timeout=timeout
        )
    return answer.history.events[:1]


async def _events(
    client: Client, execution: WorkflowExecution, size: int, timeout: timedelta
) -> list[HistoryEvent]:
    """The newest events first, until there are enough of them, or enough bytes."""
    events: list[HistoryEvent] = []
    page, read, token = READ if size <= HISTORY_BYTES else FIRST_READ, 0, b""
    while len(events) < READ and read < HISTORY_BYTES:
        request = GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace, execution=execution, maximum_page_size=page, next_page_token=token
        )
        try:
            with rpc_errors():
                answer = await client.workflow_service.get_workflow_execution_history_reverse(
                    request, retry=True, timeout=timeout
                )
        except AnswerTooLarge:
            if page == 1:
                raise
            page = 1 if page <= FIRST_READ else FIRST_READ
            continue
        events += answer.history.events
        token = answer.next_page_token
        if not token or not answer.history.events:
            break
        read += answer.ByteSize()
        fitting = (HISTORY_BYTES - read) * len(events) // read  # if the next are as large as these
        page = max(FIRST_READ, min(READ, GROWTH * page, fitting))
    return events


def _newest(lines: list[EventLine], oldest: int) -> tuple[list[EventLine], tuple[int, int] | None]:
    """The newest lines first, and the numbers of the first and the last event that they leave out. `oldest`:
    the number of the oldest event that was read, beside the first one."""
    shown = lines[::-1][:SHOWN]
    if len(lines) > SHOWN:
        return shown, (1, shown[-1].number - 1)
    return shown, (2, oldest - 1) if oldest > 2 else None


async def read_history(
    client: Client, workflow_id: str, run_id: str, *, size: int = 0, budget: Budget | None = None
) -> History:
    """The newest events of a run, most recent first. `size`: the bytes of the whole history, as describe has
    them. Raises RunNotFound, TemporalUnavailable."""
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    timeout = timedelta(seconds=conf().rpc_timeout)
    budget = budget or Budget()
    events = await _events(client, execution, size, timeout)
    await decode_failures(client, events, budget)
    reader = _Reader(await sent_signals(client, reversed(events)))
    oldest = events[-1].event_id if events else 1
    if oldest > 1:
        for event in await _first(client, execution, timeout):
            reader.read(event)
    for event in reversed(events):
        reader.read(event)
    history = reader.history
    history.unread = max(0, oldest - 2)
    history.lines, history.hidden = _newest(history.lines, oldest)
    history.input = await texts(client, reader.payloads[0], budget)
    history.result = await texts(client, reader.payloads[1], budget)
    return history
