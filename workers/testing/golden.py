"""Recorded histories as activations: what calibrates the simulator's model of server and sdk-core.

`differences` groups the events of a real history as sdk-core does, up to each workflow task that was
completed, runs them through the driver and the server's model, and compares the commands with the events
they became.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.client import WorkflowHistory

from workers.testing.commands import BEGIN, local
from workers.testing.driver import Code, Start, Task, kind_of
from workers.testing.outstanding import Jobs
from workers.testing.server import Server, order
from workers.testing.world import Activity, Child, World

_CANCEL_CHILD = EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
_COMMANDS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "schedule_activity",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED: "request_cancel_activity",
    EventType.EVENT_TYPE_TIMER_STARTED: "start_timer",
    EventType.EVENT_TYPE_TIMER_CANCELED: "cancel_timer",
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: "start_child_workflow_execution",
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: "signal_external_workflow_execution",
    _CANCEL_CHILD: "cancel_child_workflow_execution",
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: "upsert_workflow_search_attributes",
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: "modify_workflow_properties",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "complete_workflow_execution",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "fail_workflow_execution",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancel_workflow_execution",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "continue_as_new_workflow_execution",
}
_UNSUCCESSFUL = (EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)


class _Anything(dict[str, Any]):
    def __init__(self, model: Any) -> None:
        self._model = model
        super().__init__()

    def get(self, key: str, default: Any = None) -> Any:
        return self._model


class _Anywhere(World):
    activities = _Anything(Activity(lambda world, call: None))
    children = _Anything(Child(lambda world, call, end: None))


class _Recorded(Server):
    """A server whose events are known: it takes the results of local activities from the history."""

    markers: dict[int, HistoryEvent]

    def replay_task(self, jobs: Jobs, seconds: float, length: int, size: int, flags: list[int]) -> list[Task]:
        """One recorded workflow task, with all that sdk-core adds to it."""
        self.clock = seconds
        self.tasks_done += 1
        tasks: list[Task] = []
        following: Jobs = jobs
        while following:
            task = self.run.task(
                following,
                self.micros(),
                length=length,
                size=size,
                more=bool(tasks),
                replaying=True,
                flags=flags,
            )
            tasks.append(task)
            following = self.apply(task)
        return tasks

    def _on_schedule_local_activity(self, command: WorkflowCommand) -> Jobs:
        proto = command.schedule_local_activity
        item = self._schedule(proto)
        event = self.markers[proto.seq]
        attributes = event.marker_recorded_event_attributes
        if attributes.HasField("failure"):
            return [local(self.resolved(item, failed=attributes.failure))]
        result = attributes.details["result"].payloads[0]
        return [local(self.resolved(item, completed=result))]

    def _continue(self, proto: Any) -> None:
        self.ended = "continued"


def differences(code: Code, history: WorkflowHistory) -> list[str]:
    """What the simulator does otherwise than the recorded run did, in sentences; [] when nothing."""
    reader = _Reader(code, list(history.events), history.workflow_id)
    try:
        return list(reader.compare())
    finally:
        reader.server.close()


class _Reader:
    def __init__(self, code: Code, events: list[HistoryEvent], workflow_id: str) -> None:
        self._events = events
        first = events[0].workflow_execution_started_event_attributes
        start = Start(
            first.workflow_type.name,
            list(first.input.payloads),
            events[0].event_time.ToDatetime(tzinfo=UTC),
            workflow_id=workflow_id,
            run_id=first.original_execution_run_id,
            first_run_id=first.first_execution_run_id,
            continued_run_id=first.continued_execution_run_id or None,
            headers=dict(first.header.fields),
            memo=dict(first.memo.fields),
            attributes=dict(first.search_attributes.indexed_fields),
            task_queue=first.task_queue.name,
            seed=randomness_seed(first.original_execution_run_id),
        )
        self.server = _Recorded(code, start, _Anywhere())
        self._seqs: dict[int, int] = {}  # event that a command became -> its seq

    def compare(self) -> Iterator[str]:
        jobs: Jobs = list(self.server.opening)
        number = 0
        for at, event in enumerate(self._events):
            if event.event_type != EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                jobs += self._jobs(event)
                continue
            after = self._events[at + 1 :]
            if not after or after[0].event_type in _UNSUCCESSFUL:
                continue
            number += 1
            yield from self._task(number, event, after, jobs)
            jobs = []

    def _task(
        self, number: int, started: HistoryEvent, after: list[HistoryEvent], jobs: Jobs
    ) -> Iterator[str]:
        completed = after[0].workflow_task_completed_event_attributes
        recorded = [event for event in self._until_next(after[1:]) if _interesting(event)]
        markers = [event for event in recorded if event.HasField("marker_recorded_event_attributes")]
        self.server.markers = {_local_seq(event): event for event in markers if _local_seq(event)}
        patches = [_patch(event) for event in markers if not _local_seq(event)]
        seconds = (started.event_time.ToDatetime(tzinfo=UTC) - BEGIN).total_seconds()
        tasks = self.server.replay_task(
            [*map(_patch_job, patches), *sorted(jobs, key=order)],
            seconds,
            started.event_id,
            started.workflow_task_started_event_attributes.history_size_bytes,
            list(completed.sdk_metadata.lang_used_flags),
        )
        commands = _sent([command for task in tasks for command in task.commands])
        made = [_described(command) for command in commands]
        expected = [_event(event) for event in recorded]
        if made != expected:
            yield f"Workflow task {number}: the simulator made {made}, the run {expected}."
        for command, event in zip(commands, recorded, strict=False):
            self._seqs[event.event_id] = _seq(command)

    @staticmethod
    def _until_next(events: list[HistoryEvent]) -> Iterator[HistoryEvent]:
        """The events that the commands of a task became: they stand directly after its completion."""
        for event in events:
            if event.event_type not in _COMMANDS and not event.HasField("marker_recorded_event_attributes"):
                return
            yield event

    def _jobs(self, event: HistoryEvent) -> Jobs:
        kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
        make = getattr(self, f"_{kind}", None)
        return make(event) if make else []

    def _activity_task_completed(self, event: HistoryEvent) -> Jobs:
        attributes = event.activity_task_completed_event_attributes
        item = self.server.activities.get(self._seqs.get(attributes.scheduled_event_id, 0))
        if item is None:
            return []
        job = self.server.resolved(item, completed=_one(attributes.result.payloads))
        return [job]

    def _activity_task_failed(self, event: HistoryEvent) -> Jobs:
        attributes = event.activity_task_failed_event_attributes
        return self._unsuccessful(attributes.scheduled_event_id, attributes.failure, attributes.retry_state)

    def _activity_task_timed_out(self, event: HistoryEvent) -> Jobs:
        attributes = event.activity_task_timed_out_event_attributes
        return self._unsuccessful(attributes.scheduled_event_id, attributes.failure, attributes.retry_state)

    def _unsuccessful(self, scheduled: int, cause: Failure, state: Any) -> Jobs:
        item = self.server.activities.get(self._seqs.get(scheduled, 0))
        return item.give_up(self.server, cause, state) if item else []

    def _activity_task_canceled(self, event: HistoryEvent) -> Jobs:
        attributes = event.activity_task_canceled_event_attributes
        item = self.server.activities.get(self._seqs.get(attributes.scheduled_event_id, 0))
        return item.cancelled(self.server) if item else []

    def _timer_fired(self, event: HistoryEvent) -> Jobs:
        seq = self._seqs[event.timer_fired_event_attributes.started_event_id]
        timer = self.server.timers.pop(seq, None)
        return [timer.fire()] if timer else []

    def _workflow_execution_signaled(self, event: HistoryEvent) -> Jobs:
        attributes = event.workflow_execution_signaled_event_attributes
        job = WorkflowActivationJob()
        job.signal_workflow.signal_name = attributes.signal_name
        job.signal_workflow.input.extend(attributes.input.payloads)
        for name, payload in attributes.header.fields.items():
            job.signal_workflow.headers[name].CopyFrom(payload)
        return [job]

    def _workflow_execution_cancel_requested(self, event: HistoryEvent) -> Jobs:
        job = WorkflowActivationJob()
        job.cancel_workflow.reason = event.workflow_execution_cancel_requested_event_attributes.cause
        return [job]

    def _child_workflow_execution_started(self, event: HistoryEvent) -> Jobs:
        attributes = event.child_workflow_execution_started_event_attributes
        child = self.server.children.get(self._seqs[attributes.initiated_event_id])
        return child._start(self.server) if child else []

    def _child_workflow_execution_completed(self, event: HistoryEvent) -> Jobs:
        attributes = event.child_workflow_execution_completed_event_attributes
        child = self.server.children.get(self._seqs[attributes.initiated_event_id])
        if child is None:
            return []
        (job,) = child._end(self.server, "completed")
        job.resolve_child_workflow_execution.result.completed.result.CopyFrom(
            _one(attributes.result.payloads)
        )
        return [job]

    def _child_workflow_execution_failed(self, event: HistoryEvent) -> Jobs:
        attributes = event.child_workflow_execution_failed_event_attributes
        child = self.server.children.get(self._seqs[attributes.initiated_event_id])
        if child is None:
            return []
        (job,) = child._end(self.server, "failed")
        failure = job.resolve_child_workflow_execution.result.failed.failure
        failure.cause.CopyFrom(attributes.failure)
        return [job]

    def _child_workflow_execution_terminated(self, event: HistoryEvent) -> Jobs:
        return self._child_end(event.child_workflow_execution_terminated_event_attributes, "terminated")

    def _child_workflow_execution_canceled(self, event: HistoryEvent) -> Jobs:
        return self._child_end(event.child_workflow_execution_canceled_event_attributes, "cancelled")

    def _child_end(self, attributes: Any, end: str) -> Jobs:
        child = self.server.children.get(self._seqs[attributes.initiated_event_id])
        return child._end(self.server, end) if child else []

    def _external_workflow_execution_signaled(self, event: HistoryEvent) -> Jobs:
        attributes = event.external_workflow_execution_signaled_event_attributes
        external = self.server.externals.get(("signal", self._seqs[attributes.initiated_event_id]))
        return external._end(self.server, "") if external else []


def _one(payloads: Any) -> Any:
    return payloads[0] if payloads else Payload(metadata={"encoding": b"binary/null"})


def _interesting(event: HistoryEvent) -> bool:
    """Not the search attribute that sdk-core adds for a patch."""
    if not event.HasField("upsert_workflow_search_attributes_event_attributes"):
        return True
    fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    return set(fields) != {"TemporalChangeVersion"}


def _local_seq(event: HistoryEvent) -> int:
    """The seq of the local activity that a marker tells the end of; 0 for other markers."""
    attributes = event.marker_recorded_event_attributes
    if attributes.marker_name != "core_local_activity":
        return 0
    return int(json.loads(attributes.details["data"].payloads[0].data)["seq"])


def _patch(event: HistoryEvent) -> str:
    attributes = event.marker_recorded_event_attributes
    return str(json.loads(attributes.details["patch-data"].payloads[0].data)["id"])


def _patch_job(patch: str) -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.notify_has_patch.patch_id = patch
    return job


def _sent(commands: list[WorkflowCommand]) -> list[WorkflowCommand]:
    """What sdk-core sends: not what begins and is cancelled in one task."""
    sent: list[WorkflowCommand] = []
    for command in commands:
        kind = kind_of(command)
        begun = {"cancel_timer": "start_timer", "request_cancel_activity": "schedule_activity"}.get(kind)
        same = next((c for c in sent if kind_of(c) == begun and _seq(c) == _seq(command)), None)
        if begun and same is not None:
            sent.remove(same)
        else:
            sent.append(command)
    return sent


def _seq(command: WorkflowCommand) -> int:
    value = getattr(command, kind_of(command))
    return int(getattr(value, "seq", 0) or getattr(value, "child_workflow_seq", 0))


def _described(command: WorkflowCommand) -> str:
    kind = kind_of(command)
    value = getattr(command, kind)
    if kind == "schedule_activity":
        return f"{kind} {value.activity_type} {value.activity_id}"
    if kind == "schedule_local_activity":
        return f"marker {value.seq}"
    if kind == "set_patch_marker":
        return f"patch {value.patch_id}"
    if kind == "start_child_workflow_execution":
        return f"{kind} {value.workflow_id}"
    return kind


def _event(event: HistoryEvent) -> str:
    if event.HasField("marker_recorded_event_attributes"):
        seq = _local_seq(event)
        return f"marker {seq}" if seq else f"patch {_patch(event)}"
    kind = _COMMANDS[event.event_type]
    if kind == "schedule_activity":
        scheduled = event.activity_task_scheduled_event_attributes
        return f"{kind} {scheduled.activity_type.name} {scheduled.activity_id}"
    if kind == "start_child_workflow_execution":
        return f"{kind} {event.start_child_workflow_execution_initiated_event_attributes.workflow_id}"
    return kind


def randomness_seed(run_id: str) -> int:
    """The seed of a run's random numbers: sdk-core hashes the run id by SipHash-1-3 with a key of zeros, as
    Rust hashes a string (its bytes, then 0xff)."""
    data, mask = run_id.encode() + b"\xff", (1 << 64) - 1
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]

    def turned(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & mask

    def mix() -> None:
        v[0] = (v[0] + v[1]) & mask
        v[2] = (v[2] + v[3]) & mask
        v[1], v[3] = turned(v[1], 13) ^ v[0], turned(v[3], 16) ^ v[2]
        v[0] = turned(v[0], 32)
        v[2] = (v[2] + v[1]) & mask
        v[0] = (v[0] + v[3]) & mask
        v[1], v[3] = turned(v[1], 17) ^ v[2], turned(v[3], 21) ^ v[0]
        v[2] = turned(v[2], 32)

    whole = len(data) - len(data) % 8
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        mix()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        mix()
    return v[0] ^ v[1] ^ v[2] ^ v[3]
