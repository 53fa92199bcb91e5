"""A chain of runs as the server keeps it: what is outstanding, and what each command of the workflow changes.

A command that the server refuses (an activity id that is in use, a search attribute that is not registered)
fails the workflow task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from workers.testing.driver import CLOSING, Code, Nondeterminism, Task, TaskFailed
from workers.testing.memory import Run
from workers.testing.outstanding import ChildRun, External, Jobs, Running, Timer
from workers.testing.world import Call, World

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_BEGIN_MICROS = int(BEGIN.timestamp()) * 1_000_000


class Execution:
    """`run`: the last one of the chain. `attributes`: types of the registered search attributes by name;
    None: any. `received`: of each message the number of its task, name, label, arguments. `whole_queries`:
    query through payloads and interceptors, as a worker would, and not the handler itself."""

    run: Run
    events: int
    bytes: int

    def __init__(
        self, code: Code, world: World, workflow_id: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        self.code, self.world, self.workflow_id = code, world, workflow_id
        self._known = attributes
        self.clock = 0.0
        self.activities: dict[int, Running] = {}
        self.timers: dict[int, Timer] = {}
        self.children: dict[int, ChildRun] = {}
        self.externals: dict[tuple[str, int], External] = {}
        self.in_flight: list[Running] = []
        """Attempts that run and of which the workflow hears nothing any more."""
        self.started: list[tuple[int, str, str]] = []
        self.received: list[tuple[int, str, str, list[Any]]] = []
        self.updates: dict[str, tuple[str, Any]] = {}
        self.attributes: dict[str, Any] = {}
        self.memo: dict[str, Payload] = {}
        self.indexed: dict[str, Payload] = {}
        self.ended, self.result, self.failure = "", None, ("", "")
        self.task_failure: TaskFailed | Nondeterminism | None = None
        self.whole_queries = False
        self.tasks_done, self.runs = 0, 1
        self.choose_local: Callable[[str], bool] = lambda label: True
        self._new: set[int] = set()

    def outstanding(self) -> Iterator[Running | Timer | ChildRun | External]:
        yield from self.activities.values()
        yield from self.children.values()
        yield from self.externals.values()
        yield from self.timers.values()

    def micros(self) -> int:
        """The clock as microseconds since 1970."""
        return _BEGIN_MICROS + round(self.clock * 1_000_000)

    def wait(self, seconds: float) -> None:
        self.clock += seconds

    def payload(self, value: Any) -> Payload:
        return self.code.payload(value)

    def resolved(
        self, item: Running, *, completed: Payload | None = None, failed: Any = None, cancelled: Any = None
    ) -> WorkflowActivationJob:
        """The job that ends an activity."""
        self.activities.pop(item.seq, None)
        job = WorkflowActivationJob()
        resolution = job.resolve_activity
        resolution.seq = item.seq
        if failed is not None:
            resolution.result.failed.failure.CopyFrom(failed)
        elif cancelled is not None:
            resolution.result.cancelled.failure.CopyFrom(cancelled)
        else:
            assert completed is not None
            resolution.result.completed.result.CopyFrom(completed)
        return job

    def apply(self, task: Task) -> Jobs:
        """Do what the commands say; returns the jobs that sdk-core answers at once, in the same task. Raises
        TaskFailed when the server refuses one."""
        self._new = set()
        follow_up: Jobs = []
        for kind, command in zip(task.kinds, task.commands, strict=True):
            if kind in CLOSING:
                self._close(CLOSING[kind], command)
                return []  # it is the last one
            handler = getattr(self, f"_on_{kind}", None)
            if handler is not None:
                follow_up += handler(command) or ()
        return follow_up

    # Activities

    def _on_schedule_activity(self, command: WorkflowCommand) -> None:
        self._schedule(command.schedule_activity)

    def _on_schedule_local_activity(self, command: WorkflowCommand) -> Jobs:
        proto = command.schedule_local_activity
        item = self._schedule(proto)
        if self.choose_local(item.label):
            for _ in range(10):
                if jobs := item.answered(self):
                    return [local(job) for job in jobs]
        return [local(job) for job in item.refused(self)]

    def _schedule(self, proto: Any) -> Running:
        self._check_id(proto.activity_id)
        model = self.world.activities.get(proto.activity_type)
        if model is None:
            raise LookupError(f"The world has no activity called {proto.activity_type}.")
        call = Call(
            proto.activity_type,
            proto.activity_id,
            list(proto.arguments),
            self.code.payloads,
            headers=proto.headers,
            workflow_id=self.workflow_id,
            queue=getattr(proto, "task_queue", ""),
            details=(
                _seconds(proto, "start_to_close_timeout"),
                _seconds(proto, "schedule_to_close_timeout"),
                _seconds(proto, "heartbeat_timeout"),
            ),
        )
        label = f"{call.name}.{call.id}" if call.id.isdigit() else call.id
        label = label if self.runs == 1 else f"{label}@{self.runs}"
        deadline = self.clock + call.details[1] if call.details[1] else None
        item = Running(proto.seq, call.name, call.id, label, call, model, proto, deadline)
        self.activities[proto.seq] = item
        self._new.add(proto.seq)
        self.started.append((self.tasks_done + 1, call.name, model.role))
        return item

    def _check_id(self, activity_id: str) -> None:
        """An activity that was cancelled without waiting for it, or abandoned, keeps its id while it runs."""
        still = [*self.activities.values(), *(item for item in self.in_flight if item.holds_id)]
        if any(item.id == activity_id for item in still):
            raise TaskFailed(f"Activity id {activity_id} is still running.", "ScheduleActivityDuplicateId")

    def _on_request_cancel_activity(self, command: WorkflowCommand) -> Jobs:
        return self._cancel_activity(command.request_cancel_activity.seq)

    def _on_request_cancel_local_activity(self, command: WorkflowCommand) -> Jobs:
        return self._cancel_activity(command.request_cancel_local_activity.seq)

    def _cancel_activity(self, seq: int) -> Jobs:
        item = self.activities.get(seq)
        if item is None or item.cancel_requested:
            return []  # sdk-core ignores it: it was resolved in this very task
        if seq in self._new:  # never sent
            return item.cancelled(self)
        if item.waits_when_cancelled:
            item.cancel_requested = True
            return []
        if not item.waiting:
            item.holds_id = True
            self.in_flight.append(item)
        return item.cancelled(self)

    # Timers, children, other workflows

    def _on_start_timer(self, command: WorkflowCommand) -> None:
        timer = command.start_timer
        self.timers[timer.seq] = Timer(timer.seq, self.clock + _seconds(timer, "start_to_fire_timeout"))

    def _on_cancel_timer(self, command: WorkflowCommand) -> None:
        self.timers.pop(command.cancel_timer.seq, None)

    def _on_start_child_workflow_execution(self, command: WorkflowCommand) -> None:
        proto = command.start_child_workflow_execution
        model = self.world.children.get(proto.workflow_type)
        if model is None:
            raise LookupError(f"The world has no child workflow called {proto.workflow_type}.")
        call = Call(
            proto.workflow_type,
            proto.workflow_id,
            list(proto.input),
            self.code.payloads,
            headers=proto.headers,
            workflow_id=proto.workflow_id,
            queue=proto.task_queue,
        )
        kind = proto.cancellation_type  # 0 abandon, 1 try cancel, 2 wait until completed, 3 until requested
        self.children[proto.seq] = ChildRun(
            proto.seq,
            proto.workflow_type,
            proto.workflow_id,
            call,
            model,
            waits_when_cancelled=kind in (2, 3),
        )
        self._new.add(-proto.seq)

    def _on_cancel_child_workflow_execution(self, command: WorkflowCommand) -> Jobs:
        seq = command.cancel_child_workflow_execution.child_workflow_seq
        child = self.children.get(seq)
        if child is None:
            return []
        if -seq not in self._new and child.waits_when_cancelled:
            child.cancel_requested = True
            return []
        del self.children[seq]
        job = WorkflowActivationJob()
        if child.started:
            job.resolve_child_workflow_execution.seq = seq
            job.resolve_child_workflow_execution.result.cancelled.failure.CopyFrom(child.cancellation())
        else:
            job.resolve_child_workflow_execution_start.seq = seq
            job.resolve_child_workflow_execution_start.cancelled.failure.CopyFrom(child.cancellation())
        return [job]

    def _on_signal_external_workflow_execution(self, command: WorkflowCommand) -> None:
        proto = command.signal_external_workflow_execution
        target = proto.child_workflow_id or proto.workflow_execution.workflow_id
        self.externals["signal", proto.seq] = External(
            proto.seq, "signal", target, proto.signal_name, list(proto.args)
        )

    def _on_request_cancel_external_workflow_execution(self, command: WorkflowCommand) -> None:
        proto = command.request_cancel_external_workflow_execution
        self.externals["cancel", proto.seq] = External(
            proto.seq, "cancel", proto.workflow_execution.workflow_id
        )

    # What others can see of it

    def _on_upsert_workflow_search_attributes(self, command: WorkflowCommand) -> None:
        fields = command.upsert_workflow_search_attributes.search_attributes.indexed_fields
        for name, payload in fields.items():
            kind = payload.metadata.get("type", b"").decode()
            value = self.code.payloads.from_payloads([payload])[0] if payload.data else None
            registered = self._known is None or self._known.get(name) == kind
            if not registered and not (value is None and name in (self._known or ())):
                problem = f"Search attribute {name} of type {kind or '?'} is not registered."
                raise TaskFailed(problem, "BadSearchAttributes")
            if value is None or value == []:
                self.attributes.pop(name, None)
            else:
                self.attributes[name] = value
        self.indexed.update(fields.items())

    def _on_modify_workflow_properties(self, command: WorkflowCommand) -> None:
        self.memo.update(command.modify_workflow_properties.upserted_memo.fields.items())

    def _on_update_response(self, command: WorkflowCommand) -> None:
        answer = command.update_response
        name, kind = answer.protocol_instance_id, str(answer.WhichOneof("response"))
        if kind == "completed":
            self.updates[name] = kind, self.code.payloads.from_payloads([answer.completed])[0]
        elif kind == "accepted":
            self.updates[name] = kind, None
        else:
            accepted = self.updates.get(name, ("", None))[0] == "accepted"
            self.updates[name] = "failed" if accepted else "rejected", answer.rejected.message

    # The end

    def _close(self, end: str, command: WorkflowCommand) -> None:
        begun = (item for item in self.activities.values() if item.seq not in self._new)
        self.in_flight += [item for item in begun if not item.waiting]
        for item in self.in_flight:
            item.holds_id = False
        self.activities, self.timers, self.externals = {}, {}, {}
        if end == "continued":
            self._continue(command.continue_as_new_workflow_execution)
            return
        self.children = {}
        self.ended = end
        if end == "completed":
            payload = command.complete_workflow_execution.result
            self.result = self.code.payloads.from_payloads([payload])[0]
        elif end == "failed":
            failure = command.fail_workflow_execution.failure
            self.failure = (failure.message, failure.application_failure_info.type)

    def _continue(self, proto: Any) -> None:
        """The next run of the chain, which begins with what this one hands on."""
        raise NotImplementedError


def local(job: WorkflowActivationJob) -> WorkflowActivationJob:
    """The same for a local activity."""
    job.resolve_activity.is_local = True
    return job


def _seconds(proto: Any, field: str) -> float:
    """0 when there is none."""
    value = getattr(proto, field, None)
    return float(value.seconds + value.nanos / 1e9) if value is not None else 0.0
