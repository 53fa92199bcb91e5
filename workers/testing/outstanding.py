"""What a simulated run waits for, and what can become of it: activities, timers, children, signals to others.

Each kind knows its `happenings`. A happening changes the model and the world, and returns the jobs that the
next workflow task brings; none when only the server or the outside sees it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.child_workflow import StartChildWorkflowExecutionFailedCause as StartFailed
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import ActivityCancellationType as Cancel
from temporalio.bridge.proto.workflow_commands import ScheduleActivity, ScheduleLocalActivity
from temporalio.exceptions import ApplicationError

from workers.contracts import CIRCUIT_OPEN
from workers.contracts.effects import effect_refused
from workers.testing.driver import Code
from workers.testing.world import Activity as Model
from workers.testing.world import Call, World
from workers.testing.world import Child as ChildModel

Jobs = list[WorkflowActivationJob]


class Owner(Protocol):
    """The execution that waits for it, as far as a happening changes it."""

    code: Code
    world: World
    clock: float
    in_flight: list[Running]
    children: dict[int, ChildRun]
    externals: dict[tuple[str, int], External]

    def wait(self, seconds: float) -> None: ...
    def payload(self, value: Any) -> Payload: ...
    def resolved(
        self, item: Running, *, completed: Payload | None = None, failed: Any = None, cancelled: Any = None
    ) -> WorkflowActivationJob: ...


@dataclass(slots=True)
class Happening:
    """`label` is unique among what can happen now, and stays the same however the trace got here.

    `kind`: "progress" for what a healthy world does, else the kind of fault or message, by which a random
    trace switches it on or off.
    """

    label: str
    kind: str
    make: Callable[[], Jobs]


@dataclass(slots=True)
class Timer:
    seq: int
    due: float

    @property
    def label(self) -> str:
        return f"timer.{self.seq}"

    @property
    def state(self) -> Any:
        """Hashable: what makes two states different."""
        return self.label

    def fire(self) -> WorkflowActivationJob:
        job = WorkflowActivationJob()
        job.fire_timer.seq = self.seq
        return job


@dataclass(slots=True)
class Running:
    """An activity that was scheduled and not yet resolved.

    `again`: there was an attempt before this one, also when a reset made its number 1. `landed`: an attempt
    reached the outside. `paused`: by an operator; `waiting`: its next attempt waits for
    him. `holds_id`: the workflow does not wait for it any more, but the server knows it until it ends.
    """

    seq: int
    name: str
    id: str
    label: str
    call: Call
    model: Model
    proto: ScheduleActivity | ScheduleLocalActivity
    deadline: float | None
    attempt: int = 1
    faults: int = 0
    cancel_requested: bool = False
    again: bool = False
    landed: bool = False
    paused: bool = False
    waiting: bool = False
    holds_id: bool = False

    @property
    def state(self) -> Any:
        fate = (self.again, self.landed, self.paused, self.waiting, self.cancel_requested)
        return (self.label, self.attempt, self.faults, fate)

    def happenings(self, server: Owner) -> Iterator[Happening]:
        if self.paused:
            yield Happening(f"{self.label}=unpause", "progress" if self.waiting else "pause", self._unpause)
        if self.waiting:
            if self.cancel_requested:
                yield Happening(f"{self.label}=cancelled", "progress", lambda: self.cancelled(server))
            return
        yield Happening(f"{self.label}=ok", "progress", lambda: self.answered(server))
        if self.cancel_requested:
            yield Happening(f"{self.label}=cancelled", "progress", lambda: self.cancelled(server))
            yield Happening(f"{self.label}=cancelled-after", "lost", lambda: self._cancelled_after(server))
        if self.faults >= self.model.most_faults:
            return
        for name, kind in self._possible():
            make = self.refused if name == "refused" else getattr(self, "_" + name.replace("-", "_"))
            yield Happening(f"{self.label}={name}", kind, partial(self._fault, make, server))
        for number, refusal in enumerate(self.model.refusals):
            yield Happening(f"{self.label}=no{number}", "refused", partial(self._no, refusal, server))
        if self.model.dependency:
            yield Happening(f"{self.label}=open", "open", lambda: self._fault(self._open, server))
        if self.attempt > 1:
            yield Happening(f"{self.label}=reset", "reset", self._reset)

    def _possible(self) -> Iterator[tuple[str, str]]:
        """Names and kinds of the faults that this attempt may have."""
        faults, heartbeats = self.model.faults, self.call.details[2] > 0
        for name in sorted(faults):
            yield name, name
        if faults and not self.paused:
            yield "pause", "pause"
        before, after = not faults.isdisjoint({"dropped", "late"}), "lost" in faults
        if heartbeats and before:
            yield "stalled", "heartbeat"
        if heartbeats and after:
            yield "stalled-after", "heartbeat"
        if heartbeats and self.paused:
            yield "interrupted", "pause"
            if after:
                yield "interrupted-after", "pause"

    def _fault(self, make: Callable[[Owner], Jobs], server: Owner) -> Jobs:
        self.faults += 1
        return make(server)

    def _no(self, refusal: Callable[[], ApplicationError], server: Owner) -> Jobs:
        self.faults += 1
        return self._failed(server, refusal())

    def answered(self, server: Owner) -> Jobs:
        try:
            answer = server.payload(self.land(server))  # a result that must not be sent fails it afterwards
        except ApplicationError as error:
            return self._failed(server, error)
        return [server.resolved(self, completed=answer)]

    def land(self, server: Owner) -> Any:
        """The call arrives. Its effect happens even when the answer is lost."""
        self.landed = True
        self.call.attempt, self.call.again = self.attempt, self.again
        return self.model.do(server.world, self.call)

    def lands_unanswered(self, server: Owner) -> None:
        with contextlib.suppress(ApplicationError):  # the answer is lost
            self.land(server)

    def _lost(self, server: Owner) -> Jobs:
        self.lands_unanswered(server)
        return self._timed_out(server)

    def _dropped(self, server: Owner) -> Jobs:
        return self._timed_out(server)

    def _late(self, server: Owner) -> Jobs:
        server.in_flight.append(self)
        return self._timed_out(server)

    def _stalled(self, server: Owner) -> Jobs:
        """Its worker died, or the attempt does not heartbeat."""
        return self._timed_out(server, heartbeat=True)

    def _stalled_after(self, server: Owner) -> Jobs:
        self.lands_unanswered(server)
        return self._timed_out(server, heartbeat=True)

    def _pause(self, server: Owner) -> Jobs:
        self.paused = True
        return []

    def _unpause(self) -> Jobs:
        self.paused = self.waiting = False
        return []

    def _interrupted(self, server: Owner) -> Jobs:
        """The attempt hears from its heartbeat that it is paused, and is cancelled by that."""
        return self._failed(server, ApplicationError("Cancelled by a pause.", type="ActivityPause"))

    def _interrupted_after(self, server: Owner) -> Jobs:
        self.lands_unanswered(server)
        return self._interrupted(server)

    def _error(self, server: Owner) -> Jobs:
        return self._failed(server, ApplicationError("It went wrong.", type="Unavailable"))

    def _error_after(self, server: Owner) -> Jobs:
        self.lands_unanswered(server)
        return self._error(server)

    def refused(self, server: Owner) -> Jobs:
        return self._failed(server, ApplicationError("No.", type="Refused", non_retryable=True))

    def _declined(self, server: Owner) -> Jobs:
        """A gateway that answers by key: it repeats its answer, or says that nothing happened and never
        will."""
        key = str(self.call.input["idempotency_key"])
        if key in server.world.ledger.effects:
            return self.answered(server)
        server.world.ledger.undo(key, f"{key}/declined")
        return self._failed(server, effect_refused("Declined.", type="Declined"))

    def _refused_after(self, server: Owner) -> Jobs:
        self.lands_unanswered(server)
        return self._failed(
            server, ApplicationError("It must not be sent.", type="SensitiveField", non_retryable=True)
        )

    def _open(self, server: Owner) -> Jobs:
        name = self.model.dependency
        error = ApplicationError(
            f"{name} is refused.", name, not self.again, type=CIRCUIT_OPEN, non_retryable=True
        )
        return self._failed(server, error)

    def _reset(self) -> Jobs:
        self.attempt = 1
        return []

    def _timed_out(self, server: Owner, heartbeat: bool = False) -> Jobs:
        seconds = self.call.details[2 if heartbeat else 0] or self.call.details[1]
        server.wait(seconds)
        cause = Failure(message="activity timeout")
        kind = TimeoutType.TIMEOUT_TYPE_HEARTBEAT if heartbeat else TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
        cause.timeout_failure_info.timeout_type = kind
        return self._again(server, cause)

    def _failed(self, server: Owner, error: ApplicationError) -> Jobs:
        final = error.non_retryable or error.type in self.proto.retry_policy.non_retryable_error_types
        cause = server.code.failure(error)
        if final:
            return self.give_up(server, cause, RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)
        return self._again(server, cause)

    def _again(self, server: Owner, cause: Failure) -> Jobs:
        """The next attempt, unless the policy or the deadline says that this was the last."""
        policy = self.proto.retry_policy
        if policy.maximum_attempts and self.attempt >= policy.maximum_attempts:
            return self.give_up(server, cause, RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
        if self.cancel_requested:
            return self.give_up(server, cause, RetryState.RETRY_STATE_CANCEL_REQUESTED)
        first = policy.initial_interval.ToNanoseconds() / 1e9 or 1.0
        most = policy.maximum_interval.ToNanoseconds() / 1e9 or first * 100
        backoff = min(first * (policy.backoff_coefficient or 2.0) ** (self.attempt - 1), most)
        if self.deadline is not None and server.clock + backoff >= self.deadline:
            return self.give_up(server, cause, RetryState.RETRY_STATE_TIMEOUT)
        self.attempt, self.again = self.attempt + 1, True
        if self.paused:
            self.waiting = True
        else:
            server.wait(backoff)
        return []

    def give_up(self, server: Owner, cause: Failure, state: RetryState.ValueType) -> Jobs:
        return [server.resolved(self, failed=self._wrapped(cause, state))]

    def out_of_time(self, server: Owner) -> WorkflowActivationJob:
        """Schedule-to-close: the attempt that runs is given up, but may still land."""
        if not self.landed and not self.waiting:
            server.in_flight.append(self)
        cause = Failure(message="activity timeout")
        cause.timeout_failure_info.timeout_type = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
        return server.resolved(self, failed=self._wrapped(cause, RetryState.RETRY_STATE_TIMEOUT))

    def cancelled(self, server: Owner) -> Jobs:
        return [server.resolved(self, cancelled=self.cancellation())]

    def _cancelled_after(self, server: Owner) -> Jobs:
        self.lands_unanswered(server)
        return self.cancelled(server)

    def cancellation(self) -> Failure:
        cause = Failure(message="Activity cancelled")
        cause.canceled_failure_info.SetInParent()
        failure = self._wrapped(cause, RetryState.RETRY_STATE_UNSPECIFIED)
        failure.message = "Activity cancelled"
        return failure

    def _wrapped(self, cause: Failure, state: RetryState.ValueType) -> Failure:
        failure = Failure(message="Activity task failed")
        info = failure.activity_failure_info
        info.activity_type.name, info.activity_id, info.retry_state = self.name, self.id, state
        failure.cause.CopyFrom(cause)
        return failure

    @property
    def waits_when_cancelled(self) -> bool:
        return self.proto.cancellation_type == Cancel.WAIT_CANCELLATION_COMPLETED


@dataclass(slots=True)
class ChildRun:
    """A child workflow, from its command on."""

    seq: int
    name: str
    id: str
    call: Call
    model: ChildModel
    started: bool = False
    cancel_requested: bool = False
    waits_when_cancelled: bool = True

    @property
    def label(self) -> str:
        return f"child.{self.id}"

    @property
    def state(self) -> Any:
        return self.label, self.started, self.cancel_requested

    def happenings(self, server: Owner) -> Iterator[Happening]:
        if not self.started:
            yield Happening(f"{self.label}=started", "progress", lambda: self._start(server))
            if self.model.exists:
                yield Happening(f"{self.label}=exists", "child-fault", lambda: self._exists(server))
            return
        if self.cancel_requested:
            yield Happening(f"{self.label}=cancelled", "progress", lambda: self._end(server, "cancelled"))
        for end in self.model.ends:
            kind = "progress" if end == "completed" else "child-fault"
            yield Happening(f"{self.label}={end}", kind, partial(self._end, server, end))

    def _start(self, server: Owner) -> Jobs:
        self.started = True
        job = WorkflowActivationJob()
        resolved = job.resolve_child_workflow_execution_start
        resolved.seq, resolved.succeeded.run_id = self.seq, f"run-of-{self.id}"
        return [job]

    def _exists(self, server: Owner) -> Jobs:
        del server.children[self.seq]
        job = WorkflowActivationJob()
        resolved = job.resolve_child_workflow_execution_start
        resolved.seq = self.seq
        resolved.failed.workflow_id, resolved.failed.workflow_type = self.id, self.name
        resolved.failed.cause = (
            StartFailed.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
        )
        return [job]

    def _end(self, server: Owner, end: str) -> Jobs:
        job = WorkflowActivationJob()
        resolved = job.resolve_child_workflow_execution
        resolved.seq = self.seq
        try:
            result = self.model.do(server.world, self.call, end)
            error = None
        except ApplicationError as raised:
            result, error = None, raised
        if error is not None or end == "failed":
            error = error or ApplicationError("The child failed.", type="ChildFailed")
            resolved.result.failed.failure.CopyFrom(self._wrapped(server.code.failure(error)))
        elif end == "completed":
            resolved.result.completed.result.CopyFrom(server.payload(result))
        elif end == "terminated":
            cause = Failure(message="Workflow execution terminated")
            cause.terminated_failure_info.SetInParent()
            resolved.result.failed.failure.CopyFrom(self._wrapped(cause))
        else:
            resolved.result.cancelled.failure.CopyFrom(self.cancellation())
        del server.children[self.seq]
        return [job]

    def cancellation(self) -> Failure:
        cause = Failure(message="Workflow execution canceled")
        cause.canceled_failure_info.SetInParent()
        return self._wrapped(cause)

    def _wrapped(self, cause: Failure) -> Failure:
        failure = Failure(message="Child Workflow execution failed")
        info = failure.child_workflow_execution_failure_info
        info.workflow_execution.workflow_id, info.workflow_type.name = self.id, self.name
        failure.cause.CopyFrom(cause)
        return failure


@dataclass(slots=True)
class External:
    """A signal or a cancel request that this run sent to another workflow."""

    seq: int
    kind: str
    target: str
    signal: str = ""
    payloads: list[Any] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.kind}.{self.seq}"

    @property
    def state(self) -> Any:
        return self.label

    def happenings(self, server: Owner) -> Iterator[Happening]:
        yield Happening(f"{self.label}=delivered", "progress", lambda: self._end(server, ""))
        missing = f"Unable to {self.kind} external workflow because it was not found"
        yield Happening(f"{self.label}=missing", "external-fault", lambda: self._end(server, missing))

    def _end(self, server: Owner, problem: str) -> Jobs:
        del server.externals[self.kind, self.seq]
        job = WorkflowActivationJob()
        resolved = (
            job.resolve_signal_external_workflow
            if self.kind == "signal"
            else job.resolve_request_cancel_external_workflow
        )
        resolved.seq = self.seq
        if problem:
            resolved.failure.message = problem
            resolved.failure.application_failure_info.type = "ExternalWorkflowExecutionNotFound"
        elif self.kind == "signal":
            server.world.signalled(self.target, self.signal, self.payloads)
        return [job]
