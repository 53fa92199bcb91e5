"""Saga: steps forward, each with the compensation that undoes it. See docs/patterns/saga.md.

A compensation is registered before its step runs; step and compensation have idempotency keys of their own;
what cannot be undone waits for an operator. `SagaHandlers` (handlers.py) makes one for a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from workers.contracts import Decision, Money, SagaState, SagaStatus, StepStatus
from workers.contracts.effects import says_no_effect
from workers.patterns.decisions import DecisionResult
from workers.patterns.guarded_calls import GuardedCalls
from workers.patterns.saga.compensation import Compensator, MakeUndo, Operator
from workers.patterns.saga.ledger import Entry, Ledger
from workers.patterns.saga.messages import Retry, SagaResult
from workers.patterns.saga.recovery import Action, Attempt, Recovery, RecoveryPolicy, failure_of
from workers.patterns.saga.steps import ActivityOptions, Forward, run_nested, run_step
from workers.registry.definitions import activity_name
from workers.shielding import run_shielded

R = TypeVar("R")
T = TypeVar("T")

FORWARD = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_interval=timedelta(seconds=10)),
)
"""Of a step, where it does not say otherwise: attempts without limit."""
UNDO = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_attempts=8, maximum_interval=timedelta(seconds=15)),
)
"""Of a compensation, where it does not say otherwise: after eight attempts it waits for an operator."""

MakeArgument = Callable[[str], Any]
"""The step's idempotency key -> the activity's argument."""
MakeEdited = Callable[[str, dict[str, Any]], Any]
"""The same with the input that an operator edited."""

_group: ContextVar[str] = ContextVar("signalbox_saga_group", default="")


class Saga:
    """The saga of one workflow.

    calls: the guarded calls of the workflow. changed: called when `state` changes. subject: what verdicts
    call the workflow, at the beginning of a sentence. undo_input: makes the argument of compensations;
    None: they take an UndoCall. forward, undo: options of every activity that does not have its own."""

    def __init__(
        self,
        calls: GuardedCalls,
        changed: Callable[[], None],
        *,
        subject: str = "The saga",
        undo_input: MakeUndo | None = None,
        forward: ActivityOptions | None = None,
        undo: ActivityOptions | None = None,
    ) -> None:
        self._calls = calls
        self._options: ActivityOptions = {**FORWARD, **(forward or {})}
        self._ledger = Ledger(changed)
        self._forward = Forward(self._ledger, subject)
        self._operator = Operator(self._ledger)
        self._compensator = Compensator(
            self._ledger, calls, self._operator, undo_input, {**UNDO, **(undo or {})}
        )
        self._groups = 0

    @property
    def state(self) -> SagaState:
        return self._ledger.state

    @property
    def committed(self) -> bool:
        """The point of no return was passed."""
        return self._ledger.committed

    @property
    def cancelled_by(self) -> str | None:
        """A sentence that says who cancelled it and why, once a `cancel` was applied."""
        return self._forward.cancelled_by

    def status(self) -> SagaStatus:
        return self._ledger.status()

    def result(self, outcome: str, results: dict[str, Any] | None = None) -> SagaResult:
        """How it ended, for the caller or the saga around it."""
        return self._ledger.result(outcome=outcome, results=results or {})

    def attempts(self) -> dict[str, list[Attempt]]:
        """By the name of each step with a recovery policy: the attempts that failed, the last 100."""
        return {entry.label: entry.recovery.attempts for entry in self._ledger.entries if entry.recovery}

    async def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Run the steps forward until they end, fail, or are cancelled. Raises CancelledError and what they
        raise; then the caller compensates."""
        return await self._forward.run(steps)

    def cancel(self, decision: Decision) -> DecisionResult:
        """The verdict on the signal `cancel`; applied, no further step begins, and `run` raises
        CancelledError."""
        return self._forward.cancel(decision)

    def resolve(self, decision: Decision) -> DecisionResult:
        """The verdict on the signal `resolve_compensation`: retry (with edited input), skip,
        settled_outside."""
        return self._ledger.resolve(decision)

    async def step(
        self,
        activity: Callable[..., Any] | str,
        make: MakeArgument,
        *,
        name: str = "",
        undo: Callable[..., Any] | str = "",
        undo_input: Any = None,
        undo_retry: Retry | None = None,
        undo_task_queue: str = "",
        undo_after: Iterable[str] | None = None,
        amount: Money | None = None,
        point_of_no_return: bool = False,
        required: bool = False,
        recovery: RecoveryPolicy | None = None,
        make_edited: MakeEdited | None = None,
        **options: Unpack[ActivityOptions],
    ) -> Any:
        """Run one activity, held while a breaker refuses it. Returns its result.

        Raises ActivityError or ApplicationError when it failed for good, CancelledError when it was
        cancelled.

        activity, undo: functions, or names of registered activities. make: makes the argument from the
        step's idempotency key. make_edited: the same from an operator's input. undo_after: names of steps
        that must be undone before this one; None: all that are registered later. amount: shown as exposure
        until it is undone or committed; without an undo it is an operator's to settle. point_of_no_return:
        done, nothing before it is undone any more; without an undo, it waits for an operator when its
        outcome is unknown. required: failed for good, it waits for an operator instead of raising; settled by
        one, it returns None. recovery: what to do about failures, by the type of their error; the activity
        then has one attempt a run. options: as `workflow.start_activity`, for the step."""
        name = name or _name(activity)
        entry = self._register(
            StepStatus(name=name, amount=amount, point_of_no_return=point_of_no_return),
            undo=_name(undo),
            undo_input=undo_input,
            undo_retry=undo_retry,
            undo_queue=undo_task_queue,
            undo_after=None if undo_after is None else frozenset(undo_after),
            recovery=recovery and Recovery(policy=recovery),
            editable=make_edited is not None,
        )
        own: ActivityOptions = {**self._options, **options}
        if recovery is not None:
            own["retry_policy"] = RetryPolicy(maximum_attempts=1)

        def once() -> Coroutine[Any, Any, Any]:
            key = entry.open_key()
            argument = make(key)
            if make_edited is not None and entry.edited is not None:
                argument = make_edited(key, entry.edited)
            return run_step(entry, self._forward, self._calls, activity, argument, own)

        return await self._until_settled(entry, once, required)

    async def nested(
        self,
        workflow_type: str,
        argument: Any,
        *,
        name: str = "",
        task_queue: str = "",
        point_of_no_return: bool = False,
        required: bool = False,
    ) -> SagaResult | None:
        """Run a saga in a child workflow that returns a SagaResult; what would undo it becomes ours.

        Raises CancelledError, and ApplicationError: NestedSagaCompensated when it has undone itself,
        NestedSagaNotStarted when its id is in use, NestedSagaLost when it was ended from outside, so that
        its outcome is unknown and an operator has to settle it."""
        entry = self._register(StepStatus(name=name or workflow_type, point_of_no_return=point_of_no_return))

        def once() -> Coroutine[Any, Any, SagaResult]:
            return run_nested(entry, self._forward, workflow_type, argument, task_queue)

        return await self._until_settled(entry, once, required)

    async def together(self, *steps: Coroutine[Any, Any, Any], group: str = "") -> list[Any]:
        """Run steps side by side; their results in the same order.

        When one fails the others are cancelled, and awaited until the ledger knows what may have become of
        each; then that error is raised. Their compensations do not wait for each other."""
        self._groups += 1
        token = _group.set(group or f"together-{self._groups}")
        tasks = [asyncio.create_task(step) for step in steps]
        _group.reset(token)
        try:
            return list(await asyncio.gather(*tasks))
        except (asyncio.CancelledError, Exception):
            for task in tasks:
                task.cancel()
            await run_shielded(workflow.wait(tasks))
            raise

    async def compensate(self, reason: str) -> None:
        """Undo what may have happened, last first. Returns when all is undone or settled by an operator.

        After the point of no return only what came after it is undone.
        """
        await run_shielded(self._compensator.undo_all(reason))

    def complete(self) -> None:
        """All steps are done. The workflow upserts with its last stage, so `changed` is not called here."""
        self._ledger.state = SagaState.COMPLETED

    def _register(self, status: StepStatus, **more: Any) -> Entry:
        self._forward.check()
        status.group = _group.get()
        # a later run of the chain must find the same effect
        return self._ledger.register(workflow.info().first_execution_run_id, status, **more)

    async def _until_settled(
        self, entry: Entry, once: Callable[[], Coroutine[Any, Any, R]], required: bool
    ) -> R | None:
        """Try until it is done, or failed for good, or settled by an operator: then None."""
        while True:
            try:
                return await once()
            except (ActivityError, ApplicationError) as error:
                if self._ledger.compensating or is_cancelled_exception(error):
                    raise
                action, failure = self._decide(entry, error, required), error
            if isinstance(action, float):
                await workflow.sleep(action, summary=f"try {entry.status.name} again")
            elif action is Action.COMPENSATE:
                raise failure
            elif (choice := await self._escalate(entry)) != "retry":
                if choice == "skip" and not (required or self._ledger.committed):
                    raise failure  # an operator says that it did not happen
                return None

    def _decide(
        self, entry: Entry, error: ActivityError | ApplicationError, required: bool
    ) -> Action | float:
        """What to do about a failure; a number: seconds until the next try."""
        if entry.recovery is not None:
            attempt = entry.recovery.decide(failure_of(error), workflow.now())
            if attempt.action is Action.RETRY:
                return attempt.wait_seconds
            required = required or attempt.action is Action.ESCALATE
        unknown = entry.started and not says_no_effect(error.cause or error)
        if required or (entry.status.point_of_no_return and not entry.has_undo and unknown):
            return Action.ESCALATE
        return Action.COMPENSATE

    async def _escalate(self, entry: Entry) -> str:
        """Wait for an operator's choice. Skipped, it counts as not happened; settled outside, as done."""
        before, title = entry.status.status, "A step failed for good"
        try:
            choice = await self._operator.choice(entry, entry.status, title, SagaState.RUNNING)
        except asyncio.CancelledError:
            entry.status.status = before
            raise
        if choice != "retry":
            entry.started = choice != "skip"
        elif entry.recovery is not None:
            entry.recovery.begin_again()
        return choice


def _name(activity: Callable[..., Any] | str) -> str:
    """The registered name of an activity."""
    return activity if isinstance(activity, str) else activity_name(activity)
