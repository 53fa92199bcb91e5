"""History events in words: what each kind is called, what it starts or ends, and its detail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from dashboard.formats import duration
from workers.payloads.redaction import redact_text

LONGEST = 300  # characters of a detail
LONGEST_READ = 4000  # characters of a text that are searched for secrets before it is cut


def reason(failure: Failure) -> str:
    """Why something failed: the innermost message, which is the one that says it."""
    deepest = failure
    for _ in range(20):
        if not deepest.HasField("cause"):
            break
        deepest = deepest.cause
    text = redact_text((deepest.message or failure.message)[:LONGEST_READ])
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _words(name: str) -> str:
    """EVENT_TYPE_ACTIVITY_TASK_SCHEDULED -> Activity scheduled. A workflow task is named as one: its failure
    is not the workflow's."""
    text = re.sub("^event_type_|workflow_execution_(?!update)", "", name.lower())
    text = text.replace("activity_task", "activity")
    text = text.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def event_name(event: HistoryEvent) -> str:
    try:
        return _words(EventType.Name(event.event_type))
    except ValueError:
        return f"Event of type {int(event.event_type)}"


STARTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "activity_task_scheduled": ("activity", lambda a: a.activity_type.name),
    "timer_started": ("timer", lambda a: "Timer"),
    "start_child_workflow_execution_initiated": ("child", lambda a: a.workflow_type.name),
    "nexus_operation_scheduled": ("nexus", lambda a: f"{a.service} {a.operation}"),
}
# Which field of an event's attributes names the event that it ends, and the colour of that end.
ENDS = {
    "activity_task_completed": ("scheduled_event_id", "done"),
    "activity_task_failed": ("scheduled_event_id", "stop"),
    "activity_task_timed_out": ("scheduled_event_id", "stop"),
    "activity_task_canceled": ("scheduled_event_id", "rest"),
    "timer_fired": ("started_event_id", "rest"),
    "timer_canceled": ("started_event_id", "rest"),
    "child_workflow_execution_completed": ("initiated_event_id", "done"),
    "child_workflow_execution_failed": ("initiated_event_id", "stop"),
    "child_workflow_execution_timed_out": ("initiated_event_id", "stop"),
    "child_workflow_execution_terminated": ("initiated_event_id", "stop"),
    "child_workflow_execution_canceled": ("initiated_event_id", "rest"),
    "start_child_workflow_execution_failed": ("initiated_event_id", "stop"),
    "nexus_operation_completed": ("scheduled_event_id", "done"),
    "nexus_operation_failed": ("scheduled_event_id", "stop"),
    "nexus_operation_canceled": ("scheduled_event_id", "rest"),
    "nexus_operation_timed_out": ("scheduled_event_id", "stop"),
}
CUTS = ("workflow_execution_signaled", "workflow_execution_cancel_requested", "workflow_execution_terminated")
# Events whose own name says little to people.
NAMES = {
    "workflow_execution_signaled": "Signal received",
    "workflow_execution_cancel_requested": "Cancellation requested",
    "workflow_execution_continued_as_new": "Continued as a new run",
    "upsert_workflow_search_attributes": "Search attributes set",
    "workflow_properties_modified": "Memo changed",
    "start_child_workflow_execution_initiated": "Child workflow requested",
    "signal_external_workflow_execution_initiated": "Signal sent",
    "external_workflow_execution_signaled": "Signal delivered",
}


def _by(why: str, identity: str) -> str:
    """Why, and the identity of the client that did it."""
    return ", sent by ".join(part for part in (why, identity) if part)


DETAILS: dict[str, Callable[[Any], str]] = {
    "workflow_execution_started": lambda a: a.workflow_type.name,
    "workflow_execution_cancel_requested": lambda a: _by(a.cause, a.identity),
    "workflow_execution_terminated": lambda a: _by(a.reason, a.identity),
    "workflow_task_failed": lambda a: reason(a.failure),
    "marker_recorded": lambda a: a.marker_name,
    "workflow_execution_continued_as_new": lambda a: f"goes on as run {a.new_execution_run_id}",
    "signal_external_workflow_execution_initiated": lambda a: (
        f"{a.signal_name} to {a.workflow_execution.workflow_id}"
    ),
    "upsert_workflow_search_attributes": lambda a: ", ".join(sorted(a.search_attributes.indexed_fields)),
    "workflow_properties_modified": lambda a: ", ".join(sorted(a.upserted_memo.fields)),
    "timer_started": lambda a: f"for {duration(a.start_to_fire_timeout.ToTimedelta())}",
    "workflow_execution_update_accepted": lambda a: a.accepted_request.input.name,
}
QUIET = ("workflow_task_scheduled", "workflow_task_started", "workflow_task_completed")


def attributes_of(event: HistoryEvent) -> tuple[str, Any]:
    """The kind of an event in snake case, and its attributes; ("", None) for one that this SDK does not
    know."""
    which = event.WhichOneof("attributes")
    return (which.removesuffix("_event_attributes"), getattr(event, which)) if which else ("", None)
