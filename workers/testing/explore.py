"""`explore`: simulate what can happen to a workflow, and check invariants after every workflow task.

Small workflows to a stated depth, all of it; others at random from a seed. A violation is shrunk, printed
as a story, and repeated by the line that is printed with it. See docs/simulator.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import SearchAttributeKey
from temporalio.converter import DataConverter
from temporalio.worker import Interceptor

from workers.client.attributes import PLATFORM
from workers.payloads.assembly import data_converter
from workers.process.plugins import worker_interceptors
from workers.registry.registry import registry
from workers.testing.choices import Chooser, Random, Scripted, Trace, parsed, shrunk, written
from workers.testing.commands import BEGIN
from workers.testing.driver import Code, Nondeterminism, Start, collect, quiet
from workers.testing.invariants import Invariant
from workers.testing.memory import Memory
from workers.testing.messages import Say
from workers.testing.outstanding import Happening, Jobs
from workers.testing.server import Server
from workers.testing.story import Story
from workers.testing.world import World

ARRIVES = {"progress", "message", "odd-message", "cancel-run"}
"""Kinds that can come while a closing workflow task is under way."""
MOST_TASKS = 200  # of a fair continuation


class Violation(AssertionError):
    """An invariant does not hold. `name`: of the invariant; `trace`: by which it was found, shrunk;
    `story`."""

    def __init__(self, name: str, problem: str, trace: Trace, story: str = "") -> None:
        self.name, self.problem, self.trace, self.story = name, problem, trace, story
        super().__init__(f"{name}: {problem}\n{story}\nreplay={written(trace)!r}")

    @property
    def replay(self) -> str:
        """The text for `explore(..., replay=...)`."""
        return written(self.trace)


@dataclass
class Report:
    """What explorations did. `tasks`: workflow tasks of all traces, with those of which the commands were
    known from a trace before. `activations`: what was really run, with the replays. `exhausted`: all traces
    to the depth were run."""

    traces: int = 0
    tasks: int = 0
    activations: int = 0
    states: set[int] = field(default_factory=set)
    memory: Memory = field(default_factory=Memory, repr=False)
    seconds: float = 0.0
    exhausted: bool = False
    story: str = ""

    def __str__(self) -> str:
        speed = self.tasks / self.seconds if self.seconds else 0
        return (
            f"{self.traces:,} traces, {self.tasks:,} workflow tasks ({speed:,.0f}/s), "
            f"{len(self.states):,} distinct states"
        )


totals: dict[str, Report] = {}
"""Reports of this process by the name of their scenario, for the summary of a test run."""


@dataclass
class Scenario:
    """A workflow with its world, messages and invariants.

    `input`: the argument of run, or a tuple of them; a function makes it anew. `closing`: messages that
    are sent at the end, when nothing else would happen. `search_attributes`: those registered besides
    the platform's; None: any. `interceptors`: a worker's; None: those of the product. `task_failures`:
    workflow tasks may fail (and block the run until its code is repaired). `steps`: batches of a random
    trace, at most.
    """

    workflow: type
    input: Any
    world: Callable[[], World]
    invariants: Sequence[Invariant] = ()
    messages: Sequence[Say] = ()
    closing: Sequence[Say] = ()
    name: str = ""
    interceptors: Sequence[Interceptor] | None = None
    converter: DataConverter | None = None
    search_attributes: Iterable[SearchAttributeKey[Any]] | None = ()
    headers: dict[str, Payload] | None = None
    suggest_after: int = 4096
    away: tuple[float, ...] = (60,)
    native_cancel: bool = True
    task_failures: bool = False
    steps: int = 20

    @cached_property
    def code(self) -> Code:
        interceptors = self.interceptors
        if interceptors is None:  # their workflow sides need no client
            registry.load()
            interceptors = worker_interceptors()
        return Code(self.workflow, self.converter or data_converter(), tuple(interceptors))

    @cached_property
    def _start(self) -> Start:
        """What all traces begin with, but for the arguments when each has its own."""
        arguments = [] if callable(self.input) else self._converted(self.input)
        return Start(self.code.name, arguments, BEGIN, headers=self.headers or {})

    def _converted(self, given: Any) -> list[Payload]:
        return self.code.payloads.to_payloads(list(given) if isinstance(given, tuple) else [given])

    @property
    def label(self) -> str:
        return self.name or self.workflow.__name__

    @cached_property
    def _attributes(self) -> dict[str, str] | None:
        if self.search_attributes is None:
            return None
        return {key.name: key._metadata_type for key in (*PLATFORM, *self.search_attributes)}

    def server(self, memory: Memory | None = None) -> Server:
        """A new trace; `memory`: of the traces before it."""
        start = self._start
        if callable(self.input):
            start = replace(start, arguments=self._converted(self.input()))
        return Server(
            self.code,
            start,
            self.world(),
            messages=self.messages,
            attributes=self._attributes,
            suggest_after=self.suggest_after,
            away=self.away,
            native_cancel=self.native_cancel,
            memory=memory,
        )

    def explore(
        self,
        *,
        traces: int = 200,
        seed: int | str = 0,
        depth: int | None = None,
        seconds: float | None = None,
        replay: str | None = None,
        shrink: bool = True,
    ) -> Report:
        """Explore; see `explore`. `shrink`: raise the shortest trace of a violation that is found, with its
        story, and not the trace as it was."""
        report = totals.setdefault(self.label, Report())
        report.memory = Memory()  # the code may be another than the last time
        begin = time.perf_counter()
        try:
            with quiet():
                if replay is not None:
                    report.story = self._story(parsed(replay), report.memory)
                elif depth is not None:
                    self._exhaust(depth, report, begin, seconds)
                else:
                    self._wander(traces, seed, report, begin, seconds)
        except Violation as violation:
            if not shrink or replay is not None:
                raise
            raise self.explained(violation) from None
        finally:
            report.seconds += time.perf_counter() - begin
            report.activations += report.memory.activations
        return report

    def _wander(
        self, traces: int, seed: int | str, report: Report, begin: float, seconds: float | None
    ) -> None:
        for number in range(traces):
            if seconds is not None and time.perf_counter() - begin > seconds:
                break
            self._checked(Random(f"{seed}/{number}", self.steps), report)

    def _checked(self, chooser: Chooser, report: Report) -> Played:
        played = Played(self, chooser, report)
        played.run()
        collect()
        return played

    def explained(self, violation: Violation) -> Violation:
        """The same violation by the shortest trace, with its story."""
        memory, found = totals.setdefault(self.label, Report()).memory, violation

        def fails(trace: Trace) -> bool:
            nonlocal found
            try:
                Played(self, Scripted(trace, loose=True), Report(memory=memory)).run()
            except Violation as again:
                if again.name == violation.name:
                    found = again
                    return True
            return False

        with quiet():
            trace = shrunk(violation.trace, fails)
            # what the script left out as impossible is no part of the trace
            while found.trace != trace and fails(found.trace):
                trace = found.trace
            story = self._story(trace, memory, silent=True)
        return Violation(found.name, found.problem, trace, story)

    def _story(self, trace: Trace, memory: Memory, silent: bool = False) -> str:
        played = Played(self, Scripted(trace), Report(memory=memory), story=True)
        try:
            played.run()
        except Violation as violation:
            if not silent:
                raise Violation(violation.name, violation.problem, trace, str(played.story)) from None
        return str(played.story)

    def _exhaust(self, depth: int, report: Report, begin: float, seconds: float | None) -> None:
        """All batches of one happening, and of two together, to the depth; equal states are followed once."""
        open_traces: list[Trace] = [[[]]]
        seen: set[int] = set()
        while open_traces:
            if seconds is not None and time.perf_counter() - begin > seconds:
                return
            trace = open_traces.pop(0)
            played = self._checked(Scripted(trace), report)
            if len(trace) > depth or played.digest in seen or written(played.trace) != written(trace):
                continue
            seen.add(played.digest)
            for first in played.after:
                open_traces.append([*trace, [first]])
                open_traces += [[*trace, [first, then]] for then in played.after if then != first]
        report.exhausted = True


class Played:
    """One trace, from the start of the run to the end of its fair continuation."""

    def __init__(self, scenario: Scenario, chooser: Chooser, report: Report, story: bool = False) -> None:
        self._scenario, self._chooser, self._report = scenario, chooser, report
        self.server = scenario.server(report.memory)
        self.server.choose_local = self._local
        self.server.whole_queries = story or report.traces % 20 == 0
        self.trace: Trace = []
        self.after: list[str] = []
        self.digest = 0
        self.story = Story(self.server) if story else None
        self._batch: list[str] = []

    def run(self) -> None:
        """Raises Violation."""
        try:
            self._choose()
            self._finish()
            self._final()
        except Nondeterminism as error:
            self._violated("replays", str(error))
        finally:
            self._report.traces += 1
            self._report.tasks += self.server.tasks_done
            self.server.close()

    def _choose(self) -> None:
        server = self.server
        begun = False
        while not server.over and (self._chooser.more() or not begun):
            self._batch = []
            self.trace.append(self._batch)
            jobs: Jobs = []
            while happening := self._chooser.pick(server.enabled, self._batch):
                self._batch.append(happening.label)
                jobs += happening.make()
            if jobs or not begun:
                self._task(jobs, self._batch)
            elif self.story:
                self.story.tell(self._batch)
            begun = True
        self.digest = server.digest()
        if isinstance(self._chooser, Scripted):
            self.after = [item.label for item in server.enabled()]

    def _task(self, jobs: Jobs, labels: list[str]) -> None:
        self.server.task(jobs, self._meanwhile)
        if self.story:
            self.story.tell(labels)
        self._check()
        self._report.states.add(self.server.digest())

    def _meanwhile(self) -> Jobs:
        jobs: Jobs = []
        possible = [item for item in self.server.enabled() if item.kind in ARRIVES]
        for happening in self._chooser.meanwhile(possible):
            self._batch.append(f"!{happening.label}")
            jobs += happening.make()
        return jobs

    def _local(self, label: str) -> bool:
        works = self._chooser.local(label)
        if not works:
            self._batch.append(f"!{label}=fails")
        return works

    def _finish(self) -> None:
        """The fair continuation: no more faults, everything answers, timers fire, people close what is
        open."""
        server, spoken = self.server, 0
        limit = server.tasks_done + MOST_TASKS
        while not server.over and server.tasks_done < limit:
            happening = next(server.progress(), None)
            if happening is None:
                for item in list(server.in_flight):
                    server.land(item)
                happening = self._said(spoken)
                spoken += 1
            if happening is None:
                return
            if jobs := happening.make():
                self._quietly(jobs, f"(then) {happening.label}")
        if not server.over:
            self._violated("ends", f"After {MOST_TASKS} more workflow tasks without faults it still goes on.")

    def _said(self, number: int) -> Happening | None:
        wanted = [say for say in self._scenario.closing if say.when is None or say.when(self.server.view)]
        if not wanted or number >= 4 * len(self._scenario.closing):
            return None
        say = wanted[number % len(wanted)]
        return Happening(say.key, "message", lambda: self.server.say(say))

    def _quietly(self, jobs: Jobs, label: str) -> None:
        chooser, self._chooser = self._chooser, Scripted([])
        try:
            self._task(jobs, [label])
        finally:
            self._chooser = chooser

    def _final(self) -> None:
        server = self.server
        for item in list(server.in_flight):
            server.land(item)
        if self.story:
            self.story.tell(["(late calls land)"])
        server.view.final = True
        self._check()
        if not server.task_failure:
            server.check_determinism()

    def _check(self) -> None:
        view = self.server.view
        if isinstance(self.server.task_failure, Nondeterminism):
            self._violated("replays", view.task_failure)
        if self.server.task_failure and not self._scenario.task_failures:
            self._violated("task_never_fails", view.task_failure)
        for invariant in self._scenario.invariants:
            problem = invariant(view)
            if problem:
                self._violated(getattr(invariant, "__name__", type(invariant).__name__), problem)

    def _violated(self, name: str, problem: str) -> None:
        raise Violation(name, problem, [list(batch) for batch in self.trace])


def explore(
    workflow: type,
    input: Any,  # noqa: A002 (Temporal's word)
    world: Callable[[], World],
    invariants: Sequence[Invariant] = (),
    *,
    traces: int = 200,
    seed: int | str = 0,
    depth: int | None = None,
    seconds: float | None = None,
    replay: str | None = None,
    **more: Any,
) -> Report:
    """Simulate what can happen to a workflow. Raises Violation with a story and a line that repeats it.

    `traces`: random ones, from `seed`. `depth`: instead, every trace of so many batches after the first.
    `seconds`: stop then. `replay`: only this trace, as a Violation printed it. `more`: fields of Scenario.
    """
    scenario = Scenario(workflow, input, world, invariants, **more)
    return scenario.explore(traces=traces, seed=seed, depth=depth, seconds=seconds, replay=replay)


def variant(scenario: Scenario, **changes: Any) -> Scenario:
    """The same scenario with other fields."""
    return replace(scenario, **changes)
