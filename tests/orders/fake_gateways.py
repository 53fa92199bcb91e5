"""Fake gateways at the activities' edge, and what order workflow tests need around it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orders.messages import EffectResult, OrderInput, OrderLine, OrderRules, StepInput, UndoInput, Validated
from workers.contracts.effects import effect_refused
from workers.patterns.breaker.names import UNAVAILABLE, guarded

EFFECTS = {
    "reserve_stock": "release_stock",
    "charge_payment": "refund_payment",
    "book_shipment": "cancel_shipment",
    "book_freight": "cancel_freight",
    "notify_customer": "",
    "notify_warehouse": "",
}


class FakeGateways:
    """Does each effect once a key, undoes it once, and refuses it after its undo, as a gateway must."""

    def __init__(self, guard: Callable[[str], str] = lambda dependency: dependency) -> None:
        self.done: set[str] = set()
        self.undone: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.undos: list[UndoInput] = []
        self.faults: dict[str, Callable[[], None]] = {}
        self.gates: dict[str, threading.Event] = {}
        self._guard = guard

    def down(self, name: str) -> None:
        def refuse() -> None:
            raise ApplicationError(f"{name} is away.", type=UNAVAILABLE)

        self.faults[name] = refuse

    def declining(self, name: str, kind: str = "Declined", message: str = "No.") -> None:
        """It says that nothing happened."""

        def refuse() -> None:
            raise effect_refused(message, type=kind)

        self.faults[name] = refuse

    def heal(self, name: str) -> None:
        del self.faults[name]

    def hanging(self, name: str) -> threading.Event:
        """Calls of `name` wait for this event, and have their effect only then."""
        return self.gates.setdefault(name, threading.Event())

    @property
    def standing(self) -> set[str]:
        """Names of the effects that were done and not undone."""
        return {key.split("/")[1] for key in self.done - self.undone}

    def activities(self) -> list[Callable[..., Any]]:
        made = [self._effect(name) for name in EFFECTS]
        made += [self._undo(name) for name in EFFECTS.values() if name]
        return [*made, self._validate()]

    def _enter(self, name: str) -> None:
        self.calls[name] += 1
        if name in self.faults:
            self.faults[name]()
        if name in self.gates:
            deadline = time.monotonic() + 30
            while not self.gates[name].wait(0.1) and time.monotonic() < deadline:
                pass

    def _validate(self) -> Callable[..., Any]:
        @activity.defn(name="validate_order", no_thread_cancel_exception=True)
        def validate(order: OrderInput) -> Validated:
            self._enter("validate_order")
            return Validated(total_minor=order.total_minor)

        return validate

    def _effect(self, name: str) -> Callable[..., Any]:
        def effect(step: StepInput) -> EffectResult:
            self._enter(name)
            if step.idempotency_key in self.undone:
                raise ApplicationError("It was undone.", type="Undone", non_retryable=True)
            self.done.add(step.idempotency_key)
            return EffectResult(reference=f"{name}-1")

        dependency = {"charge_payment": "payments", "book_freight": "freight"}.get(name)
        made = guarded(self._guard(dependency))(effect) if dependency else effect
        return activity.defn(name=name, no_thread_cancel_exception=True)(made)

    def _undo(self, name: str) -> Callable[..., Any]:
        @activity.defn(name=name, no_thread_cancel_exception=True)
        def undo(given: UndoInput) -> EffectResult:
            self.undos.append(given)
            self._enter(name)
            self.undone.add(given.idempotency_key)
            return EffectResult(reference=f"{name}-1")

        return undo


def an_order(order_id: str, **rules: Any) -> OrderInput:
    rules = {"held_retry_seconds": 60, "undo_attempts": 1, **rules}
    return OrderInput(
        order_id=order_id,
        customer_id="c-1",
        customer_name="Ada",
        requester="riley",
        lines=[OrderLine(sku="LAMP", quantity=1, unit_minor=4_900)],
        total_minor=4_900,
        rules=OrderRules(**rules),
    )
