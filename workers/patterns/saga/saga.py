"""Saga: steps forward, each with what undoes it, and the way back.

A compensation is registered before its step runs; step and undo have keys of their own; the way back runs in
a task that no cancellation reaches; what cannot be undone waits for an operator. See docs/patterns/saga.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from workers.contracts import Decision, Money, SagaState, SagaStatus, StepState, StepStatus
from workers.interceptors.shielding import run_shielded
from workers.patterns.decisions import DecisionResult
from workers.patterns.guarded_calls import GuardedCalls
from workers.patterns.saga.compensation import Compensator, MakeUndo, Operator, settled
from workers.patterns.saga.ledger import Entry, Ledger
from workers.patterns.saga.messages import Compensation, Retry, SagaResult, StepCall, UndoCall
from workers.patterns.saga.steps import (
    NESTED_COMPENSATED,
    NESTED_LOST,
    SAGA_UNWINDING,
    Nested,
    run_step,
)

__all__ = [
    "NESTED_COMPENSATED",
    "NESTED_LOST",
    "SAGA_UNWINDING",
    "Compensation",
    "Options",
    "Retry",
    "Saga",
    "SagaResult",
    "StepCall",
    "UndoCall",
    "run_shielded",
]

R = TypeVar("R")

MakeInput = Callable[[str], Any]
"""Step key -> the activity's argument."""

_group: ContextVar[str] = ContextVar("signalbox_saga_group", default="")


@dataclass
class Options:
    """`step_seconds`: one try of a step or an undo. `undo_attempts`: tries before an undo is stuck."""

    step_seconds: float = 10
    undo_attempts: int = 8


def _always() -> bool:
    return True


class Saga:
    """`changed` is called whenever `state` is another; the workflow then upserts SagaState.

    `undo_input`: makes an undo's argument; without it undos take an UndoCall. `alerts`: asked when something
    is stuck, whether to raise an alert; a workflow that ran before there were any asks `workflow.patched`.
    """

    def __init__(
        self,
        *,
        holds: GuardedCalls,
        changed: Callable[[], None],
        options: Options | None = None,
        undo_input: MakeUndo | None = None,
        alerts: Callable[[], bool] = _always,
    ) -> None:
        self._options = options or Options()
        self._holds = holds
        self._ledger = Ledger(changed)
        self._operator = Operator(self._ledger, alerts)
        self._back = Compensator(
            self._ledger,
            holds,
            make=undo_input,
            operator=self._operator,
            seconds=self._options.step_seconds,
        )
        self._groups = 0

    @property
    def state(self) -> SagaState:
        return self._ledger.state

    @property
    def committed(self) -> bool:
        """The point of no return is behind us."""
        return self._ledger.committed

    def status(self) -> SagaStatus:
        return self._ledger.status()

    def compensations(self) -> list[Compensation]:
        """What would undo this saga, for the one around it to take over. Its undos must take an UndoCall."""
        return self._ledger.compensations()

    def by_hand(self) -> list[str]:
        """Names of the steps that a person settled."""
        return [
            entry.status.name for entry in self._ledger.entries if entry.choice in ("skip", "settled_outside")
        ]

    async def step(
        self,
        activity: str,
        make: MakeInput,
        result: type[R] | None = None,
        *,
        name: str = "",
        undo: str = "",
        undo_input: Any = None,
        undo_retry: Retry | None = None,
        amount: Money | None = None,
        point_of_no_return: bool = False,
        attempts: int = 0,
        must: bool = False,
        queue: str = "",
        undo_queue: str = "",
    ) -> R:
        """Run one step, held while a breaker refuses it. Raises ActivityError. `attempts` 0: no limit.

        `undo_input`: for undos that take an UndoCall. `undo_retry`: how often this undo is tried. `must`:
        failed for good, it waits for an operator instead of raising; settled by a person, it answers None.
        """
        entry = self._register(
            StepStatus(name=name or activity, amount=amount, point_of_no_return=point_of_no_return),
            undo=undo,
            undo_input=undo_input,
            undo_retry=undo_retry,
            undo_queue=undo_queue,
        )

        def once() -> Coroutine[Any, Any, R]:
            return run_step(
                entry,
                self._ledger,
                self._holds,
                activity=activity,
                argument=make(entry.status.idempotency_key),
                result=result,
                attempts=attempts,
                seconds=self._options.step_seconds,
                queue=queue,
            )

        return await self._insisted(entry, once) if must else await once()  # type: ignore[return-value]

    async def together(self, *steps: Coroutine[Any, Any, Any], group: str = "") -> list[Any]:
        """Run steps side by side; their answers in the same order.

        When one fails the others are cancelled, and awaited until the ledger knows what may have become of
        each; then that error is raised. Registered in the order given, so undone in its reverse.
        """
        self._groups += 1
        token = _group.set(group or f"together-{self._groups}")
        tasks = [asyncio.create_task(step) for step in steps]
        _group.reset(token)
        try:
            return list(await asyncio.gather(*tasks))
        except (asyncio.CancelledError, Exception):
            for task in tasks:
                task.cancel()
            await run_shielded(_ended(tasks))
            raise

    async def nested(
        self,
        workflow_type: str,
        argument: Any,
        *,
        name: str = "",
        queue: str = "",
        point_of_no_return: bool = False,
        must: bool = False,
    ) -> SagaResult | None:
        """Run a saga in a child workflow that answers a SagaResult; what would undo it becomes ours.

        `queue`: empty for the one of this workflow. `must`: as for a step; None when a person settled it.
        Raises ApplicationError NestedSagaCompensated when it has undone itself, and NestedSagaLost when it
        was terminated: then nobody knows, and on the way back it waits for an operator.
        """
        entry = self._register(
            StepStatus(name=name or workflow_type, point_of_no_return=point_of_no_return), undo=""
        )

        def once() -> Coroutine[Any, Any, SagaResult]:
            return Nested(entry, self._ledger).run(workflow_type, argument, queue)

        return await self._insisted(entry, once) if must else await once()

    async def compensate(self, reason: str) -> None:
        """Undo what may have happened, last first. Returns when all is undone or settled by an operator.

        After the point of no return only what came after it is undone; the rest stays as it is.
        """
        await self._back.undo(reason, Retry(attempts=self._options.undo_attempts))

    def complete(self) -> None:
        """All steps forward are done. The workflow upserts with its last stage, so nobody is told here."""
        self._ledger.state = SagaState.COMPLETED

    def resolve(self, decision: Decision) -> DecisionResult:
        """An operator's word on what is stuck: retry (with edited input), skip or settled_outside."""
        return self._ledger.resolve(decision)

    def _register(self, status: StepStatus, *, undo: str, **more: Any) -> Entry:
        if self._ledger.unwinding:
            raise ApplicationError("The way back has begun.", type=SAGA_UNWINDING, non_retryable=True)
        status.group = _group.get()
        # a later run of the chain must find the same effect
        return self._ledger.register(workflow.info().first_execution_run_id, status, undo=undo, **more)

    async def _insisted(self, entry: Entry, once: Callable[[], Coroutine[Any, Any, R]]) -> R | None:
        """Try until it is done, or settled by an operator: then None."""
        while True:
            try:
                return await once()
            except (ActivityError, ApplicationError) as error:
                if self._ledger.unwinding or is_cancelled_exception(error):
                    raise
            entry.status.status = StepState.STUCK
            title = "A step failed for good"
            choice = await self._operator.choice(entry, title, entry.status.error or "")
            entry.status.status = StepState.PENDING if choice == "retry" else settled(choice)
            if not any(other.stuck for other in self._ledger.entries):
                self._ledger.go(SagaState.RUNNING)
            if choice != "retry":
                return None


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
