"""Drives one run of a workflow class by activations, under the SDK's own runner, without a worker or a
server.

An activation is what sdk-core hands to the SDK in a workflow task: the jobs of that task. Everything
private of the SDK that the simulator touches is in this module.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pydantic_core import to_json
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.bridge.proto.workflow_activation import (
    NotifyHasPatch,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.common import Priority
from temporalio.converter import DataConverter, PayloadConverter, decode_typed_search_attributes
from temporalio.worker import Interceptor, WorkflowInboundInterceptor, WorkflowInterceptorClassInput
from temporalio.worker._workflow_instance import UnsandboxedWorkflowRunner, WorkflowInstanceDetails

NAMESPACE = "simulated"
QUIET = ("temporalio.workflow", "temporalio.worker._workflow_instance")
CLOSING = {
    "complete_workflow_execution": "completed",
    "fail_workflow_execution": "failed",
    "cancel_workflow_execution": "cancelled",
    "continue_as_new_workflow_execution": "continued",
}
"""Commands that close a run, and how it ends by them."""
_ABSENT: dict[str, Any] = {item.name: None for item in dataclasses.fields(workflow.Info)}


class _NoLoop:
    """Stands for the event loop of a worker while an instance is made; the SDK keeps an attribute on it."""


@contextmanager
def _running_loop(loop: Any) -> Iterator[None]:
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Instances run in this context alone: without a running loop, as in a worker's thread, and without
    the log lines of the SDK and of workflows. The garbage collector runs by `collect`, and at the end."""
    collecting = gc.isenabled()
    gc.disable()
    gc.freeze()  # what was there before is not looked through
    loggers = [logging.getLogger(name) for name in QUIET]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with _running_loop(None):
            yield
    finally:
        collect()
        gc.unfreeze()
        if collecting:
            gc.enable()
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def collect() -> None:
    """Drop the instances made since the last time: call it after every trace, as memory that is used
    again at once is still in the cache of the processor."""
    gc.collect(0)


@dataclass(frozen=True)
class Code:
    """A workflow class with what a worker would run it with. `failure_types`: the worker's
    `workflow_failure_exception_types`."""

    cls: type
    converter: DataConverter
    interceptors: Sequence[Interceptor] = ()
    failure_types: Sequence[type[BaseException]] = ()
    definition: Any = field(init=False)
    classes: tuple[type[WorkflowInboundInterceptor], ...] = field(init=False)
    payloads: PayloadConverter = field(init=False)
    extern: dict[str, Callable[..., Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        given = WorkflowInterceptorClassInput(unsafe_extern_functions=self.extern)
        classes = (item.workflow_interceptor_class(given) for item in self.interceptors)
        object.__setattr__(self, "definition", workflow._Definition.must_from_class(self.cls))
        object.__setattr__(self, "classes", tuple(cls for cls in classes if cls is not None))
        object.__setattr__(self, "payloads", self.converter.payload_converter_class())
        self.extern["__temporal_assert_local_activity_valid"] = lambda name: None  # as a worker's own

    @property
    def name(self) -> str:
        return self.definition.name or self.cls.__name__

    def payload(self, value: Any) -> Payload:
        return self.payloads.to_payloads([value])[0]

    def failure(self, error: BaseException) -> Any:
        """The error as Temporal's Failure message."""
        from temporalio.api.failure.v1 import Failure

        made = Failure()
        self.converter.failure_converter.to_failure(error, self.payloads, made)
        return made


@dataclass
class Start:
    """What a run begins with; the same for all traces that begin so, and not changed by them."""

    workflow_type: str
    arguments: list[Payload]
    at: datetime
    workflow_id: str = "simulated"
    run_id: str = "run-1"
    first_run_id: str = "run-1"
    continued_run_id: str | None = None
    headers: Mapping[str, Payload] = field(default_factory=dict)
    memo: Mapping[str, Payload] = field(default_factory=dict)
    attributes: Mapping[str, Payload] = field(default_factory=dict)
    task_queue: str = "simulated"
    seed: int = 1
    attempt: int = 1

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Hashable: what makes two runs begin differently, but for what is in their first activation."""
        fields = (
            str(sorted((name, value.data) for name, value in m.items())) for m in (self.attributes, self.memo)
        )
        return (self.run_id, self.continued_run_id, self.workflow_type, self.task_queue, self.at, *fields)

    @cached_property
    def job(self) -> WorkflowActivationJob:
        """The job by which the run begins."""
        job = WorkflowActivationJob()
        first = job.initialize_workflow
        first.workflow_type, first.workflow_id = self.workflow_type, self.workflow_id
        first.arguments.extend(self.arguments)
        first.randomness_seed, first.attempt = self.seed, self.attempt
        for name, payload in self.headers.items():
            first.headers[name].CopyFrom(payload)
        return job


@dataclass
class Task:
    """One activation with what the SDK answered. `more`: it belongs to the workflow task before it, as its
    jobs come from sdk-core itself. `flags`: the SDK's logic flags that the run has used until then."""

    activation: WorkflowActivation
    commands: list[WorkflowCommand]
    more: bool = False
    flags: frozenset[int] = frozenset()

    @cached_property
    def kinds(self) -> list[str]:
        """Of its commands."""
        return [kind_of(command) for command in self.commands]

    @cached_property
    def size(self) -> int:
        """Bytes of its jobs and commands, about."""
        return self.activation.ByteSize() + sum(map(WorkflowCommand.ByteSize, self.commands))

    @cached_property
    def rejected(self) -> set[str]:
        """The updates that its validators rejected; what fails later was accepted before."""
        updates = {
            job.do_update.protocol_instance_id for job in self.activation.jobs if job.HasField("do_update")
        }
        answers = [c.update_response for c in self.commands if c.HasField("update_response")]
        return updates - {answer.protocol_instance_id for answer in answers if answer.HasField("accepted")}

    @cached_property
    def on_replay(self) -> WorkflowActivation | None:
        """As sdk-core repeats the task from its history: an update that was rejected is not there, nor is a
        task that had nothing else; no validator runs again. None: no such task."""
        activation = WorkflowActivation()
        activation.CopyFrom(self.activation)
        activation.is_replaying = True
        activation.available_internal_flags[:] = sorted(self.flags)
        jobs = [
            WorkflowActivationJob(notify_has_patch=NotifyHasPatch(patch_id=command.set_patch_marker.patch_id))
            for command, kind in zip(self.commands, self.kinds, strict=True)
            if kind == "set_patch_marker"
        ]
        for job in activation.jobs:
            if job.do_update.protocol_instance_id not in self.rejected:
                jobs.append(job)
                if job.HasField("do_update"):
                    job.do_update.run_validator = False
        if not jobs and len(self.rejected) == len(self.commands):
            return None
        del activation.jobs[:]
        activation.jobs.extend(jobs)
        return activation


class TaskFailed(Exception):
    """The workflow task failed, so that a server would repeat it."""

    def __init__(self, message: str, kind: str) -> None:
        self.message, self.kind = message, kind
        super().__init__(f"{kind}: {message}" if kind else message)


class Nondeterminism(Exception):
    """A replay of the recorded activations made other commands."""


class Instance:
    """One instance of the workflow in a worker's cache."""

    def __init__(self, code: Code, start: Start) -> None:
        self.code, self.start = code, start
        self._queries = 0
        self._flags: frozenset[int] = frozenset()
        details = WorkflowInstanceDetails(
            payload_converter_factory=lambda: code.payloads,
            failure_converter_class=code.converter.failure_converter_class,
            interceptor_classes=code.classes,
            defn=code.definition,
            info=_info(start),
            randomness_seed=start.seed,
            extern_functions=code.extern,
            disable_eager_activity_execution=False,
            worker_level_failure_exception_types=code.failure_types,
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )
        with _running_loop(_NoLoop()):
            self.inside: Any = UnsandboxedWorkflowRunner().create_instance(details)

    def run(self, activation: WorkflowActivation, more: bool = False) -> Task:
        """One activation. Raises TaskFailed."""
        completion = self._activate(activation)
        self._flags = self._flags.union(completion.successful.used_internal_flags)
        return Task(activation, _sent(completion.successful.commands), more, self._flags)

    def replay(self, tasks: Sequence[Task]) -> None:
        """Bring it to where the recorded tasks end. Raises Nondeterminism."""
        for number, task in enumerate(tasks, 1):
            self._flags = task.flags
            if task.on_replay is None:
                continue
            try:
                again = _sent(self._activate(task.on_replay).successful.commands)
            except TaskFailed as error:
                raise Nondeterminism(f"Activation {number} fails when it is replayed: {error}") from error
            expected = task.commands
            if task.rejected:
                expected = [
                    c for c in expected if c.update_response.protocol_instance_id not in task.rejected
                ]
            if again != expected:
                raise Nondeterminism(_difference(number, expected, again))

    def query(self, name: str, arguments: Sequence[Any]) -> bytes:
        """The answer as JSON, as a worker would send it. Raises TaskFailed when the handler refuses."""
        self._queries += 1
        activation = WorkflowActivation(run_id=self.start.run_id)
        activation.timestamp.FromNanoseconds(self.inside._time_ns)
        activation.available_internal_flags.extend(sorted(self._flags))
        activation.history_length = self.inside._current_history_length
        job = activation.jobs.add().query_workflow
        job.query_id, job.query_type = str(self._queries), name
        job.arguments.extend(self.code.payloads.to_payloads(list(arguments)) if arguments else ())
        (command,) = self._activate(activation).successful.commands
        answer = command.respond_to_query
        if answer.HasField("failed"):
            raise TaskFailed(answer.failed.message, answer.failed.application_failure_info.type)
        return to_json(self.code.payloads.from_payloads([answer.succeeded.response])[0])

    def ask(self, name: str, arguments: Sequence[Any]) -> bytes:
        """The same by a call of the handler itself, without interceptors and payloads: six times as fast."""
        definition = self.inside._queries[name]
        handler = definition.bind_fn(self.inside._object) if definition.is_method else definition.fn
        with _running_loop(self.inside), self.inside._as_read_only(in_query_or_validator=True):
            try:
                return to_json(handler(*arguments))
            except Exception as error:
                raise TaskFailed(str(error), type(error).__name__) from error

    @property
    def queries(self) -> frozenset[str]:
        """The names of the queries that the workflow answers, but for the SDK's own."""
        return frozenset(name for name in self.inside._queries if name and not name.startswith("__"))

    def bare_queries(self) -> list[str]:
        """Those that need no argument."""
        return [name for name in sorted(self.queries) if not _needs_arguments(self.inside._queries[name])]

    def evict(self) -> None:
        """Drop it from the cache, as a worker does. Raises what the workflow does wrong on that."""
        activation = WorkflowActivation(run_id=self.start.run_id)
        activation.jobs.add().remove_from_cache.SetInParent()
        self._activate(activation)

    def _activate(self, activation: WorkflowActivation) -> WorkflowActivationCompletion:
        completion: WorkflowActivationCompletion = self.inside.activate(activation)
        if completion.HasField("failed"):
            failure = completion.failed.failure
            raise TaskFailed(failure.message, failure.application_failure_info.type)
        return completion


def kind_of(command: WorkflowCommand) -> str:
    return str(command.WhichOneof("variant"))


def _needs_arguments(query: Any) -> bool:
    code = getattr(query.fn, "__code__", None)
    return code is not None and code.co_argcount - len(query.fn.__defaults__ or ()) > query.is_method


def _sent(commands: Iterable[WorkflowCommand]) -> list[WorkflowCommand]:
    """In the order in which sdk-core sends them: what closes the run comes last, and once."""
    others: list[WorkflowCommand] = []
    closing: list[WorkflowCommand] = []
    for command in commands:
        (closing if kind_of(command) in CLOSING else others).append(command)
    return [*others, *closing[:1]]


def _info(start: Start) -> workflow.Info:
    typed = decode_typed_search_attributes(_search_attributes(start.attributes))
    known = dict(_ABSENT)
    known.update(
        attempt=start.attempt,
        continued_run_id=start.continued_run_id,
        first_execution_run_id=start.first_run_id,
        original_execution_run_id=start.run_id,
        headers=dict(start.headers),
        namespace=NAMESPACE,
        priority=Priority.default,
        raw_memo=dict(start.memo),
        run_id=start.run_id,
        search_attributes={},
        start_time=start.at,
        task_queue=start.task_queue,
        task_timeout=timedelta(seconds=10),
        # the SDK changes this list in place
        typed_search_attributes=type(typed)(list(typed.search_attributes)),
        workflow_id=start.workflow_id,
        workflow_start_time=start.at,
        workflow_type=start.workflow_type,
    )
    return workflow.Info(**known)


def _search_attributes(fields: Mapping[str, Payload]) -> Any:
    return types.SimpleNamespace(indexed_fields=fields)


def _difference(task: int, before: Sequence[WorkflowCommand], again: Sequence[WorkflowCommand]) -> str:
    names = [[kind_of(command) for command in commands] for commands in (before, again)]
    if names[0] != names[1]:
        return f"Activation {task} made {names[0] or 'no commands'}, and {names[1] or 'none'} when replayed."
    number = next(n for n, (one, two) in enumerate(zip(before, again, strict=True)) if one != two)
    return (
        f"Activation {task}: command {number + 1} ({names[0][number]}) is another when replayed: "
        f"{_short(before[number])} and {_short(again[number])}."
    )


def _short(command: WorkflowCommand) -> str:
    return " ".join(str(command).split())[:300]
