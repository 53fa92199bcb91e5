"""Fake services for sagas: effects happen once a key, are undone once, and are refused from then on."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from tests.support import eventually
from workers.client.attributes import SAGA_STATE, WAITING_FOR
from workers.contracts import CIRCUIT_OPEN, Decision, Money, SagaStatus, Verdict
from workers.contracts.effects import effect_refused
from workers.patterns.saga.messages import Retry, SagaResult, StepCall, UndoCall
from workers.patterns.saga.plan import SagaPlan, SagaRules, SagaStep
from workers.patterns.saga.workflow import SagaWorkflow

BUGS: set[str] = set()
"""Names of the bugs that the code of a test's workflow has now."""
ONCE = SagaRules(undo_attempts=1, held_retry_seconds=600)


class FakeServices:
    """The activities `book` and `cancel_booking`; faults and gates go by what the input calls the effect.
    `running`: workers of `queue`, once a test has said what they run. `tombs`: keys that were undone or
    refused."""

    running: Callable[[], AbstractAsyncContextManager[None]]

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.done: dict[str, str] = {}
        self.undone: list[str] = []
        self.tombs: set[str] = set()
        self.steps: list[StepCall] = []
        self.undos: list[UndoCall] = []
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Callable[[str], ApplicationError]] = {}
        self.gates: dict[str, threading.Event] = {}

    def refusing(self, name: str, *details: Any, kind: str = "Refused", final: bool = True) -> None:
        """It fails with an error that says nothing of the effect."""
        self.faults[name] = lambda key: ApplicationError(
            f"{name}: no.", *details, type=kind, non_retryable=final
        )

    def declining(self, name: str) -> None:
        """The service says that nothing is under the key, and refuses the key from then on."""

        def refusal(key: str) -> ApplicationError:
            self.tombs.add(key)
            return effect_refused(f"{name}: no.", type="Declined")

        self.faults[name] = refusal

    def held(self, name: str, dependency: str) -> None:
        """As the interceptor of a breaker refuses the first attempt."""
        self.refusing(name, dependency, True, kind=CIRCUIT_OPEN)

    def hanging(self, name: str) -> threading.Event:
        return self.gates.setdefault(name, threading.Event())

    @property
    def standing(self) -> list[str]:
        return [name for key, name in self.done.items() if key not in self.tombs]

    async def _enter(self, name: str, key: str = "") -> None:
        self.calls[name] += 1
        gate, deadline = self.gates.get(name), time.monotonic() + 60
        while gate and not gate.is_set() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)  # a worker may run it in a loop of its own
        if name in self.faults:
            raise self.faults[name](key)

    def activities(self) -> list[Callable[..., Any]]:
        """New functions each time, as the registry knows an activity by its function."""

        @activity.defn(name="book")
        async def book(call: StepCall) -> dict[str, str]:
            self.steps.append(call)
            name = call.input if isinstance(call.input, str) else call.input["name"]
            await self._enter(name, call.idempotency_key)
            if call.idempotency_key in self.tombs:
                raise ApplicationError("It was undone.", type="Withdrawn", non_retryable=True)
            self.done[call.idempotency_key] = name
            return {"booked": name}

        @activity.defn(name="cancel_booking")
        async def cancel_booking(call: UndoCall) -> None:
            self.undos.append(call)
            await self._enter(f"undo {call.input['name']}")
            if call.undo_key not in self.undone:
                self.undone.append(call.undo_key)
            self.tombs.add(call.idempotency_key)

        return [book, cancel_booking]


def step(name: str, **more: Any) -> SagaStep:
    """A step with its undo and an amount, that is tried once."""
    return SagaStep(
        name=name,
        **{
            "activity": "book",
            "input": name,
            "attempts": 1,
            "undo": "cancel_booking",
            "undo_input": {"name": name},
            "amount": Money(minor=100, currency="EUR"),
            **more,
        },
    )


def final(name: str) -> SagaStep:
    return step(name, point_of_no_return=True)


def nested(name: str, *steps: SagaStep, **rules: Any) -> SagaStep:
    return SagaStep(name=name, saga=a_plan(*steps, **rules))


def a_plan(*steps: SagaStep, **rules: Any) -> SagaPlan:
    return SagaPlan(subject="Order 7", steps=list(steps), rules=ONCE.model_copy(update=rules))


def thrice() -> Retry:
    return Retry(attempts=3, initial_seconds=0.01, maximum_seconds=0.01)


class Run:
    """A started saga, and what the console asks of it."""

    def __init__(self, handle: WorkflowHandle[Any, SagaResult]) -> None:
        self.handle = handle

    @classmethod
    async def start(cls, client: Client, services: FakeServices, *steps: SagaStep, **rules: Any) -> Run:
        return cls(
            await client.start_workflow(
                SagaWorkflow.run,
                a_plan(*steps, **rules),
                id=f"saga-{uuid.uuid4().hex}",
                task_queue=services.queue,
            )
        )

    async def status(self) -> SagaStatus:
        answer: SagaStatus = await self.handle.query("get_saga_status", result_type=SagaStatus)
        return answer

    async def steps(self) -> dict[str, str]:
        return {item.name: item.status for item in (await self.status()).steps}

    async def nested(self, name: str) -> Run:
        """The run of a nested saga, once it has an id."""

        async def child_id() -> str:
            return next((s.child_workflow_id for s in (await self.status()).steps if s.name == name), "")

        client: Client = self.handle._client
        return Run(client.get_workflow_handle_for(SagaWorkflow.run, await eventually(child_id)))

    async def until(self, state: str, *waiting: str) -> None:
        """Wait for the SagaState, and for what it says that it waits for."""

        async def there() -> bool:
            found = (await self.handle.describe()).typed_search_attributes
            return found.get(SAGA_STATE) == state and tuple(found.get(WAITING_FOR) or ()) == waiting

        await eventually(there)

    async def say(self, signal: str, actor: str = "op", **more: Any) -> Verdict:
        body = Decision(decision_id=uuid.uuid4().hex, actor=actor, **more)
        await self.handle.signal(signal, body)
        answer: Verdict = await self.handle.query("get_decision", body.decision_id, result_type=Verdict)
        return answer
