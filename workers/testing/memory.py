"""What a workflow did in the histories of one exploration, so that no workflow task is run for nothing.

A workflow is determined by its history: the same activations make the same commands and answers. So the
tasks of all traces are kept as a tree, and an instance is made only where a trace leaves what is known; it
gets there by a replay, which checks what was known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic_core import from_json
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob

from workers.testing.driver import Code, Instance, Start, Task, TaskFailed

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+")

Refused = tuple[str, str]
"""Message and type of the failure of a query."""

MOST_TASKS = 10_000
"""Of a memory; a task is some kilobytes."""


@dataclass(slots=True, eq=False)
class Known:
    """The state after a task. `task`: None at the beginning. `next`: by what came next. `answers`: of
    queries, as JSON. `replayed`: a fresh instance has made the same commands."""

    task: Task | None = None
    next: dict[Any, Known] = field(default_factory=dict)
    answers: dict[Any, bytes | Refused] = field(default_factory=dict)
    queries: frozenset[str] | None = None
    state: int = 0
    replayed: bool = False


class Memory:
    """`activations`: how many were really run, with those of replays."""

    def __init__(self) -> None:
        self.activations = self._tasks = 0
        self._runs: dict[Any, Known] = {}

    def begin(self, start: Start) -> Known:
        """Where a run begins; what is known of it when it began in the same way before."""
        if self._tasks > MOST_TASKS:
            self._runs, self._tasks = {}, 0
        return self._runs.setdefault(start.key, Known(replayed=True))

    def keep(self, last: Known, key: Any, task: Task) -> Known:
        self._tasks += 1
        known = last.next[key] = Known(task)
        return known


class Run:
    """One run of a chain: its tasks, and an instance in the worker's cache when one is needed."""

    def __init__(self, code: Code, start: Start, memory: Memory) -> None:
        self.start = start
        self._code, self._memory = code, memory
        self._path = [memory.begin(start)]
        self._instance: Instance | None = None
        self._behind = 0  # tasks at the end of the path that the instance has not run

    @property
    def tasks(self) -> list[Task]:
        return [known.task for known in self._path if known.task is not None]

    def task(
        self,
        jobs: Sequence[WorkflowActivationJob],
        micros: int,
        *,
        length: int,
        size: int,
        suggest: bool = False,
        more: bool = False,
        replaying: bool = False,
        flags: Iterable[int] = (),
    ) -> Task:
        """The next activation, at so many microseconds since 1970. `flags`: that a recorded task used.
        Raises TaskFailed, Nondeterminism."""
        last = self._path[-1]
        content = [job.SerializeToString(deterministic=True) for job in jobs]
        key = (micros, length, size, suggest, replaying, *content)
        known = last.next.get(key)
        if known is None:
            activation = WorkflowActivation(
                run_id=self.start.run_id,
                timestamp=Timestamp(seconds=micros // 10**6, nanos=micros % 10**6 * 1000),
                history_length=length,
                history_size_bytes=size,
                continue_as_new_suggested=suggest,
                available_internal_flags=sorted((last.task.flags if last.task else frozenset()).union(flags)),
                is_replaying=replaying,
                jobs=jobs,
            )
            known = self._memory.keep(last, key, self._live(activation, more))
        else:
            self._behind += 1
        self._path.append(known)
        assert known.task is not None
        return known.task

    def _live(self, activation: WorkflowActivation, more: bool) -> Task:
        instance = self._ready()
        self._memory.activations += 1
        try:
            return instance.run(activation, more)
        except TaskFailed:
            self.evict()
            raise

    def answer(self, name: str, arguments: Sequence[Any], whole: bool) -> Any:
        """What a query answers, as plain JSON. `whole`: through payloads and interceptors. Raises
        TaskFailed."""
        answer = self._answer(name, arguments, whole)
        if isinstance(answer, bytes):
            return from_json(answer)
        raise TaskFailed(*answer)

    def _answer(self, name: str, arguments: Sequence[Any], whole: bool) -> bytes | Refused:
        key = (whole, name, *map(str, arguments))
        answers = self._path[-1].answers
        if key not in answers:
            instance = self._ready()
            try:
                answers[key] = (instance.query if whole else instance.ask)(name, arguments)
            except TaskFailed as error:  # not kept itself: its traceback holds the instance
                answers[key] = error.message, error.kind
        return answers[key]

    def answers(self, name: str) -> bool:
        """Is there such a query?"""
        known = self._path[-1]
        if known.queries is None:
            known.queries = self._ready().queries
        return name in known.queries

    def state(self) -> int:
        """A hash of all that its queries without arguments answer, but for times."""
        known = self._path[-1]
        if not known.state:
            answers = [self._answer(name, (), whole=False) for name in self._ready().bare_queries()]
            known.state = hash(_TIME.sub("", str(answers))) or 1
        return known.state

    def back(self, tasks: int) -> None:
        """As it was after so many tasks: what came then was not accepted by the server."""
        self.evict()
        del self._path[tasks + 1 :]
        self._behind = tasks

    def evict(self) -> None:
        """The worker drops it from its cache. The next task replays it, in another instance."""
        instance, self._instance = self._instance, None
        self._behind = len(self._path) - 1
        if instance is not None:
            instance.evict()

    def replay(self) -> None:
        """Have a fresh instance repeat it, unless one has. Raises Nondeterminism."""
        if not self._path[-1].replayed:
            self.evict()
            self._ready()
            self.evict()

    def _ready(self) -> Instance:
        """The instance, where the path ends. Raises Nondeterminism."""
        fresh = self._instance is None
        if self._instance is None:
            self._instance = Instance(self._code, self.start)
        if self._behind:
            behind = self._path[-self._behind :]
            self._instance.replay([known.task for known in behind if known.task is not None])
            self._memory.activations += len(behind)
            self._behind = 0
            if fresh:
                for known in behind:
                    known.replayed = True
        return self._instance
