"""A model of a Temporal server and of sdk-core for one chain of runs: what can happen next, and workflow
tasks.

What it copies: retries and time-outs of activities by their policy, the cancellation types, pauses and
resets by an operator, timers in the order of their deadlines, children, signals and updates, signals to
others, search attributes and memo, continue-as-new, a closing command that is refused because something
arrived meanwhile, eviction and replay. See docs/simulator.md for what it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob

from workers.testing.commands import BEGIN, Execution
from workers.testing.driver import CLOSING, Code, Nondeterminism, Start, Task, TaskFailed
from workers.testing.memory import Memory, Run
from workers.testing.messages import Say
from workers.testing.outstanding import Happening, Jobs, Running, Timer
from workers.testing.view import View
from workers.testing.world import World

STEP = 0.01  # seconds that a workflow task takes
EVENT_BYTES = 120  # of an event without its payloads, about
_EVENTS = {
    "schedule_activity": 3,
    "start_timer": 2,
    "start_child_workflow_execution": 3,
    "respond_to_query": 0,
}
"""Events that come of a command; 1 of others."""
_ORDER = {"initialize_workflow": 0, "signal_workflow": 1, "do_update": 1}

Meanwhile = Callable[[], Jobs]


def order(job: WorkflowActivationJob) -> int:
    """Where sdk-core puts a job among the others of its task."""
    return _ORDER.get(str(job.WhichOneof("variant")), 2)


class Server(Execution):
    """One trace. `attributes`: types of the registered search attributes by name; None: any.
    `suggest_after`: events after which continue-as-new is suggested. `memory`: of other traces of the same
    code."""

    def __init__(
        self,
        code: Code,
        start: Start,
        world: World,
        *,
        messages: Iterable[Say] = (),
        attributes: Mapping[str, str] | None = None,
        suggest_after: int = 4096,
        away: tuple[float, ...] = (60,),
        native_cancel: bool = True,
        evictions: int = 1,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(code, world, start.workflow_id, attributes)
        self._messages = [(say.key, say) for say in messages]
        self._memory = memory or Memory()
        self._suggest_after = suggest_after
        self._away = {f"away{seconds:g}": seconds for seconds in away}
        self._may_cancel, self._evictions = native_cancel, evictions
        self.chain: list[Run] = []
        self.view = View(self)
        self._used: dict[str, int] = {}
        self._begin(start)

    def _begin(self, start: Start) -> None:
        self.run = Run(self.code, start, self._memory)
        self.chain.append(self.run)
        self._taken: set[str] = set()
        self.events, self.bytes = 1, sum(map(Payload.ByteSize, start.arguments)) + EVENT_BYTES
        self.opening: Jobs = [start.job]

    # What can happen

    @property
    def over(self) -> bool:
        return bool(self.ended or self.task_failure)

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
        found = [*self._of_outstanding(), *self._first_timer(), *self._to_be_said()]
        found += [self._landing(item) for item in self.in_flight]
        if self._may_cancel and "cancel-run" not in self._used:
            found.append(Happening("cancel-run", "cancel-run", self._cancel_run))
        for label, seconds in self._away.items():
            if self._used.get(label, 0) < 2:
                found.append(Happening(label, "away", partial(self._be_away, label, seconds)))
        if not self.opening and self._used.get("evict", 0) < self._evictions:
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
            if item.deadline is not None and not item.waiting  # a pause stops it
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

    def _to_be_said(self) -> Iterator[Happening]:
        for key, say in self._messages:
            if self._used.get(key, 0) < say.times and (say.when is None or say.when(self.view)):
                yield Happening(key, say.kind, partial(self.say, say))

    def say(self, say: Say) -> Jobs:
        """A message arrives. An update whose id the run has is answered by the server alone."""
        used = self._used[say.key] = self._used.get(say.key, 0) + 1
        arguments = say.arguments(self.view)
        self.received.append((self.tasks_done + 1, say.name, say.key, arguments))
        job = WorkflowActivationJob()
        payloads = self.code.payloads.to_payloads(arguments) if arguments else []
        if not say.update:
            job.signal_workflow.signal_name = say.name
            job.signal_workflow.input.extend(payloads)
            return [job]
        update, name = job.do_update, say.update_id or f"{say.key}-{used}"
        if name in self._taken and self.updates.get(name, ("", None))[0] != "rejected":
            return []
        self._taken.add(name)
        update.id = update.protocol_instance_id = name
        update.name, update.run_validator = say.name, True
        update.input.extend(payloads)
        return [job]

    def _landing(self, item: Running) -> Happening:
        return Happening(f"{item.label}=lands", "late", lambda: self.land(item))

    def land(self, item: Running) -> Jobs:
        """A call that the server has given up arrives."""
        self.in_flight.remove(item)
        item.lands_unanswered(self)
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

    def _evict(self) -> Jobs:
        self._used["evict"] = self._used.get("evict", 0) + 1
        self.run.evict()
        return []

    # Workflow tasks

    def task(self, jobs: Jobs, meanwhile: Meanwhile = list) -> None:
        """One workflow task with these jobs, and with what is overdue.

        `meanwhile`: called when the workflow wants to close, for jobs that arrive before the server knows of
        it: the server then refuses the commands, and the task is done again with those jobs.
        """
        self.clock += STEP
        jobs = [*self.opening, *self._overdue(), *jobs]
        self.opening = []
        before = len(self.run.tasks)
        try:
            task = self._activate(jobs)
            if not CLOSING.keys().isdisjoint(task.kinds):
                late = meanwhile()
                if late:
                    self.events += 3
                    self.run.back(before)
                    task = self._activate([*jobs, *late])
            self._account(task, first=True)
            while follow_up := self.apply(task):
                task = self._activate(follow_up, more=True)
                self._account(task)
        except (TaskFailed, Nondeterminism) as error:
            self.task_failure = error
        self.tasks_done += 1

    def _activate(self, jobs: Jobs, more: bool = False) -> Task:
        suggest = self.events > self._suggest_after
        return self.run.task(
            sorted(jobs, key=order),
            self.micros(),
            length=self.events + 2,
            size=self.bytes,
            suggest=suggest,
            more=more,
        )

    def _account(self, task: Task, first: bool = False) -> None:
        self.events += 3 if first else 0
        self.events += sum(_EVENTS.get(kind, 1) for kind in task.kinds)
        self.events += sum(1 for job in task.activation.jobs if order(job) == 1)
        self.bytes += task.size + EVENT_BYTES * (3 + len(task.commands) + len(task.activation.jobs))

    def _continue(self, proto: Any) -> None:
        start = self.run.start
        self.run.evict()
        self.runs += 1
        attributes = {
            name: payload
            for name, payload in {**start.attributes, **self.indexed}.items()
            if payload.data not in (b"null", b"[]")
        }
        attributes.update(proto.search_attributes.indexed_fields.items())
        self.memo.update(proto.memo.items())
        self._begin(
            Start(
                proto.workflow_type or start.workflow_type,
                list(proto.arguments),
                BEGIN + timedelta(seconds=self.clock),
                run_id=f"run-{self.runs}",
                first_run_id=start.first_run_id,
                continued_run_id=start.run_id,
                headers=dict(proto.headers) or start.headers,
                attributes=attributes,
                memo=dict(self.memo),
                seed=self.runs,
            )
        )
        self.tasks_done += 1
        self.task([])
        self.tasks_done -= 1

    def check_determinism(self) -> None:
        """Every run of the chain must have been repeated by a fresh instance. Raises Nondeterminism."""
        for run in self.chain:
            run.replay()

    def close(self) -> None:
        """Drop the runs, so that nothing of them runs later."""
        for run in self.chain:
            run.evict()

    def digest(self) -> int:
        """Two states with the same digest are followed as one: the model's, the world's, the messages used,
        and what the workflow answers to all its queries without arguments."""
        return hash(
            (
                tuple(item.state for item in self.outstanding()),
                tuple((item.label, item.holds_id) for item in self.in_flight),
                tuple(sorted((name, str(value)) for name, value in self.attributes.items())),
                tuple(sorted(self._used.items())),
                self.ended,
                self.runs,
                len(self.started),
                self.world.digest(),
                0 if self.task_failure else self.run.state(),
            )
        )
