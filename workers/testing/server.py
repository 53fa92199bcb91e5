"""A model of a Temporal server and of sdk-core for one chain of runs: what is outstanding, and workflow
tasks.

What it copies: retries and time-outs of activities by their policy, the cancellation types, timers in the
order of their deadlines, children, signals to others, search attributes and memo, continue-as-new, a closing
command that is refused because something arrived meanwhile, eviction and replay. See docs/simulator.md for
what it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from workers.testing.driver import Code, Instance, Nondeterminism, Start, Task, TaskFailed
from workers.testing.messages import Say
from workers.testing.outstanding import ChildRun, External, Happening, Jobs, Running, Timer
from workers.testing.view import View
from workers.testing.world import Call, World

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STEP = 0.01  # seconds that a workflow task takes
EVENT_BYTES = 120  # of an event without its payloads, about
CLOSING = {
    "complete_workflow_execution": "completed",
    "fail_workflow_execution": "failed",
    "cancel_workflow_execution": "cancelled",
    "continue_as_new_workflow_execution": "continued",
}
_EVENTS = {"schedule_activity": 3, "start_timer": 2, "start_child_workflow_execution": 3}
_FREE = {"respond_to_query"}

Meanwhile = Callable[[], Jobs]


def _order(job: WorkflowActivationJob) -> int:
    kind = job.WhichOneof("variant")
    return {"initialize_workflow": 0, "signal_workflow": 1, "do_update": 1}.get(str(kind), 2)


class Server:
    """One trace. `suggest_after`: events after which continue-as-new is suggested."""

    def __init__(
        self,
        code: Code,
        arguments: Iterable[Any],
        world: World,
        *,
        messages: Iterable[Say] = (),
        attributes: Mapping[str, str] | None = None,
        headers: Mapping[str, Payload] | None = None,
        start_attributes: Mapping[str, Payload] | None = None,
        suggest_after: int = 4096,
        away: tuple[float, ...] = (60,),
        native_cancel: bool = True,
        evictions: int = 1,
        start: Start | None = None,
    ) -> None:
        self.code, self.world, self.messages = code, world, list(messages)
        self._known, self._suggest_after = attributes, suggest_after
        self._away = {f"away{seconds:g}": seconds for seconds in away}
        self._may_cancel, self._evictions = native_cancel, evictions
        self.clock = 0.0
        self.activities: dict[int, Running] = {}
        self.timers: dict[int, Timer] = {}
        self.children: dict[int, ChildRun] = {}
        self.externals: dict[tuple[str, int], External] = {}
        self.in_flight: list[Running] = []
        self.received: list[tuple[int, str, str, list[Any]]] = []
        self.started: list[tuple[int, str, str]] = []
        self.updates: dict[str, str] = {}
        self.attributes: dict[str, Any] = {}
        self.memo: dict[str, Payload] = {}
        self._indexed: dict[str, Payload] = {}
        self.ended, self.result, self.failure = "", None, ("", "")
        self.task_failure: TaskFailed | Nondeterminism | None = None
        self.tasks_done, self.runs = 0, 1
        self.segments: list[tuple[Start, list[Task]]] = []
        self.view = View(self)
        self.whole_queries = False
        """Ask through payloads and interceptors, as a worker would, and not the handler itself."""
        self.choose_local: Callable[[str], bool] = lambda label: True
        self._used: dict[str, int] = {}
        self._resolutions: dict[str, int] = {}
        if start is None:
            inputs = code.payloads.to_payloads(list(arguments))
            start = Start(code.name, inputs, BEGIN, headers=headers or {}, attributes=start_attributes or {})
        self._begin(start)

    def _begin(self, start: Start) -> None:
        self.start = start
        self.instance = Instance(self.code, start)
        self.recorded: list[Task] = []
        self.segments.append((start, self.recorded))
        self.events, self.bytes = 1, sum(map(Payload.ByteSize, start.arguments)) + EVENT_BYTES
        self.opening: Jobs = [self.instance.first_job()]

    # What can happen

    @property
    def over(self) -> bool:
        return bool(self.ended or self.task_failure)

    def outstanding(self) -> Iterator[Running | Timer | ChildRun | External]:
        yield from self.activities.values()
        yield from self.children.values()
        yield from self.externals.values()
        yield from self.timers.values()

    def _of_outstanding(self) -> Iterator[Happening]:
        for activity in [*self.activities.values()]:
            yield from activity.happenings(self)
        for child in [*self.children.values()]:
            yield from child.happenings(self)
        for external in [*self.externals.values()]:
            yield from external.happenings(self)

    def progress(self) -> Iterator[Happening]:
        """What a healthy world does next, timers last."""
        for happening in self._of_outstanding():
            if happening.kind == "progress":
                yield happening
        yield from self._first_timer()

    def enabled(self) -> list[Happening]:
        """All that can happen now, each alone."""
        if self.over:
            return [self._landing(item) for item in self.in_flight]
        found = [*self._of_outstanding(), *self._first_timer()]
        found += self._messages()
        found += [self._landing(item) for item in self.in_flight]
        if self._may_cancel and "cancel-run" not in self._used:
            found.append(Happening("cancel-run", "cancel-run", self._cancel_run))
        for label, seconds in self._away.items():
            if self._used.get(label, 0) < 2:
                found.append(Happening(label, "away", partial(self._be_away, label, seconds)))
        if self.recorded and self._used.get("evict", 0) < self._evictions:
            found.append(Happening("evict", "evict", self._evict))
        return found

    def _first_timer(self) -> list[Happening]:
        """Only the first to be due can fire; those after it can then share its task."""
        found: list[tuple[float, Happening]] = [
            (timer.due, Happening(timer.label, "progress", partial(self._fire, timer)))
            for timer in self.timers.values()
        ]
        found += [
            (
                item.deadline,
                Happening(f"{item.label}=deadline", "dropped", partial(self._expire, item)),
            )
            for item in self.activities.values()
            if item.deadline is not None
        ]
        if not found:
            return []
        first = min(due for due, _ in found)
        return [happening for due, happening in found if due <= first + STEP]

    def _fire(self, timer: Timer) -> Jobs:
        del self.timers[timer.seq]
        self.clock = max(self.clock, timer.due)
        return [timer.fire()]

    def _expire(self, item: Running) -> Jobs:
        self.clock = max(self.clock, item.deadline or 0)
        return [item.out_of_time(self)]

    def _overdue(self) -> Jobs:
        """What became due while the clock moved on has happened: it is in the history before the next
        task."""
        jobs: Jobs = []
        while due := [h for h in self._first_timer() if self._due(h.label) <= self.clock]:
            jobs += due[0].make()
        return jobs

    def _due(self, label: str) -> float:
        dues = {timer.label: timer.due for timer in self.timers.values()}
        dues |= {f"{item.label}=deadline": item.deadline or 0 for item in self.activities.values()}
        return dues[label]

    def _messages(self) -> Iterator[Happening]:
        for say in self.messages:
            if self._used.get(say.key, 0) < say.times and (say.when is None or say.when(self.view)):
                yield Happening(say.key, say.kind, partial(self.say, say))

    def say(self, say: Say) -> Jobs:
        """A message arrives."""
        self._used[say.key] = self._used.get(say.key, 0) + 1
        arguments = say.arguments(self.view)
        self.received.append((self.tasks_done + 1, say.name, say.key, arguments))
        job = WorkflowActivationJob()
        payloads = self.code.payloads.to_payloads(arguments) if arguments else []
        if say.update:
            update = job.do_update
            update.id = update.protocol_instance_id = f"{say.key}-{self._used[say.key]}"
            update.name, update.run_validator = say.name, True
            update.input.extend(payloads)
        else:
            job.signal_workflow.signal_name = say.name
            job.signal_workflow.input.extend(payloads)
        return [job]

    def _landing(self, item: Running) -> Happening:
        return Happening(f"{item.label}=lands", "late", lambda: self.land(item))

    def land(self, item: Running) -> Jobs:
        """A call that the workflow no longer waits for arrives."""
        self.in_flight.remove(item)
        item._quietly(self)
        return []

    def _cancel_run(self) -> Jobs:
        self._used["cancel-run"] = 1
        job = WorkflowActivationJob()
        job.cancel_workflow.reason = "cancelled from outside"
        return [job]

    def _be_away(self, label: str, seconds: float) -> Jobs:
        self._used[label] = self._used.get(label, 0) + 1
        self.wait(seconds)
        return []

    def at(self) -> datetime:
        """The clock as a time."""
        return BEGIN + timedelta(seconds=self.clock)

    def wait(self, seconds: float) -> None:
        self.clock += seconds

    # Workflow tasks

    def task(self, jobs: Jobs, meanwhile: Meanwhile = list) -> None:
        """One workflow task with these jobs, and with what is overdue.

        `meanwhile`: called when the workflow wants to close, for jobs that arrive before its commands reach
        the server: the server then refuses the commands, and the task is done again with those jobs.
        """
        self.clock += STEP
        jobs = [*self.opening, *self._overdue(), *jobs]
        self.opening = []
        self.view.forget()
        try:
            task = self._activate(jobs)
            if any(command.WhichOneof("variant") in CLOSING for command in task.commands):
                late = meanwhile()
                if late:
                    self.events += 3
                    self._renewed_instance()
                    task = self._activate([*jobs, *late])
            self._account(task, first=True)
            while follow_up := self._apply(task):
                task = self._activate(follow_up, more=True)
                self._account(task)
        except (TaskFailed, Nondeterminism) as error:
            self.task_failure = error
        self.tasks_done += 1

    def _activate(self, jobs: Jobs, more: bool = False) -> Task:
        suggest = self.events > self._suggest_after
        jobs = sorted(jobs, key=_order)
        return self.instance.run(
            jobs, self.at(), length=self.events + 2, size=self.bytes, suggest=suggest, more=more
        )

    def _account(self, task: Task, first: bool = False) -> None:
        self.recorded.append(task)
        size = task.activation.ByteSize()
        self.events += 3 if first else 0
        for command in task.commands:
            kind = str(command.WhichOneof("variant"))
            self.events += 0 if kind in _FREE else _EVENTS.get(kind, 1)
            size += command.ByteSize()
        self.events += sum(1 for job in task.activation.jobs if _order(job) == 1)
        self.bytes += size + EVENT_BYTES * (3 + len(task.commands) + len(task.activation.jobs))

    def _apply(self, task: Task) -> Jobs:
        """Do what the commands say; returns the jobs that sdk-core answers at once, in the same task."""
        self._new: set[int] = set()
        follow_up: Jobs = []
        for command in task.commands:
            kind = str(command.WhichOneof("variant"))
            if kind in CLOSING:
                self._close(CLOSING[kind], command)
                return []
            handler = getattr(self, f"_on_{kind}", None)
            if handler is not None:
                follow_up += handler(command) or ()
        return follow_up

    def _on_schedule_activity(self, command: WorkflowCommand) -> Jobs:
        return self._schedule(command.schedule_activity)

    def _on_schedule_local_activity(self, command: WorkflowCommand) -> Jobs:
        proto = command.schedule_local_activity
        self._schedule(proto)
        item = self.activities[proto.seq]
        if self.choose_local(item.label):
            for _ in range(10):
                if jobs := item._ok(self):
                    return [self._local(job) for job in jobs]
        jobs = item._refused(self)
        return [self._local(job) for job in jobs]

    @staticmethod
    def _local(job: WorkflowActivationJob) -> WorkflowActivationJob:
        job.resolve_activity.is_local = True
        return job

    def _schedule(self, proto: Any) -> Jobs:
        if any(item.id == proto.activity_id for item in self.activities.values()):
            raise TaskFailed(
                f"Activity id {proto.activity_id} is still running.", "BadScheduleActivityAttributes"
            )
        model = self.world.activities.get(proto.activity_type)
        if model is None:
            raise LookupError(f"The world has no activity called {proto.activity_type}.")
        seconds = (
            proto.start_to_close_timeout.ToNanoseconds() / 1e9,
            proto.schedule_to_close_timeout.ToNanoseconds() / 1e9,
            proto.heartbeat_timeout.ToNanoseconds() / 1e9 if hasattr(proto, "heartbeat_timeout") else 0.0,
        )
        name = (
            f"{proto.activity_type}.{proto.activity_id}" if proto.activity_id.isdigit() else proto.activity_id
        )
        call = Call(
            proto.activity_type,
            proto.activity_id,
            list(proto.arguments),
            self.code.payloads,
            headers=proto.headers,
            workflow_id=self.start.workflow_id,
            queue=getattr(proto, "task_queue", ""),
            details=seconds,
        )
        deadline = self.clock + seconds[1] if seconds[1] else None
        self.activities[proto.seq] = Running(
            proto.seq, proto.activity_type, proto.activity_id, self._label(name), call, model, proto, deadline
        )
        self._new.add(proto.seq)
        self.started.append((self.tasks_done + 1, proto.activity_type, model.role))
        return []

    def _label(self, name: str) -> str:
        return name if self.runs == 1 else f"{name}@{self.runs}"

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
        self.in_flight.append(item)
        return item.cancelled(self)

    def _on_start_timer(self, command: WorkflowCommand) -> None:
        timer = command.start_timer
        due = self.clock + timer.start_to_fire_timeout.ToNanoseconds() / 1e9
        self.timers[timer.seq] = Timer(timer.seq, due)

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
            abandoned_when_cancelled=kind == 0,
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
        self._indexed.update(fields.items())

    def _on_modify_workflow_properties(self, command: WorkflowCommand) -> None:
        self.memo.update(command.modify_workflow_properties.upserted_memo.fields.items())

    def _on_update_response(self, command: WorkflowCommand) -> None:
        answer = command.update_response
        self.updates[answer.protocol_instance_id] = str(answer.WhichOneof("response"))

    def _close(self, end: str, command: WorkflowCommand) -> None:
        self.in_flight += self.activities.values()
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
        self.instance.evict()
        self.runs += 1
        attributes = {
            name: payload
            for name, payload in {**self.start.attributes, **self._indexed}.items()
            if payload.data not in (b"null", b"[]")
        }
        attributes.update(proto.search_attributes.indexed_fields.items())
        self.memo.update(proto.memo.items())
        self._begin(
            Start(
                proto.workflow_type or self.start.workflow_type,
                list(proto.arguments),
                BEGIN + timedelta(seconds=self.clock),
                run_id=f"run-{self.runs}",
                first_run_id=self.start.first_run_id,
                continued_run_id=self.start.run_id,
                headers=dict(proto.headers) or self.start.headers,
                attributes=attributes,
                memo=dict(self.memo),
                seed=self.runs,
            )
        )
        self.tasks_done += 1
        self.task([])
        self.tasks_done -= 1

    # Resolutions, payloads

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

    # Replay

    def _evict(self) -> Jobs:
        self._used["evict"] = self._used.get("evict", 0) + 1
        try:
            self._renewed_instance()
        except (TaskFailed, Nondeterminism) as error:
            self.task_failure = error
        return []

    def _renewed_instance(self) -> None:
        """The worker drops the run from its cache, and another one replays it."""
        self.instance.evict()
        self.instance = Instance(self.code, self.start)
        self.instance.replay(self.recorded)
        self.view.forget()

    def check_determinism(self, checked: set[int]) -> None:
        """Replay every run of the chain from its recorded activations; those whose hash is in `checked` were
        replayed before, for another trace. Raises Nondeterminism, TaskFailed."""
        for start, tasks in self.segments:
            parts = [task.activation.SerializeToString() for task in tasks]
            key = hash((start.run_id, *(item.data for item in start.arguments), *parts))
            if key in checked:
                continue
            checked.add(key)
            again = Instance(self.code, start)
            try:
                again.replay(tasks)
            finally:
                again.evict()

    def close(self) -> None:
        """Drop the run, so that nothing of it runs later."""
        self.instance.evict()

    def digest(self) -> Any:
        """Hashable: the model's state and the world's."""
        waiting = tuple(
            (item.label, getattr(item, "attempt", 0), getattr(item, "cancel_requested", False))
            for item in self.outstanding()
        )
        attributes = tuple(sorted((name, str(value)) for name, value in self.attributes.items()))
        return hash(
            (
                waiting,
                tuple(item.label for item in self.in_flight),
                attributes,
                tuple(sorted(self._used.items())),
                self.ended,
                self.runs,
                len(self.started),
                self.world.digest(),
            )
        )
