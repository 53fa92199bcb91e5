"""OrderWorkflow, simulated: goods, money and parcel stand together or not at all, or an operator knows."""

from __future__ import annotations

from typing import ClassVar
from unittest import mock

import pytest

from orders.attributes import ORDERS
from orders.messages import (
    EffectResult,
    OrderInput,
    OrderLine,
    OrderRules,
    Stage,
    StepInput,
    Strategy,
    UndoInput,
)
from orders.workflows.order import OrderWorkflow
from tests.workers.explore.models import ALL_FAULTS, EDITS, PLATFORM, cancels, decision, operator, told
from workers.contracts import ApprovalPolicy, Resume
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import SAGA
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import QUIET_FAULTS, Activity, Call, World

EFFECTS = ("reserve_stock", "book_shipment")
UNDOS = ("release_stock", "refund_payment", "cancel_shipment", "cancel_freight")
NOTICES = ("notify_customer", "notify_warehouse")


def _do(world: World, call: Call) -> EffectResult:
    """An effect at its gateway, which knows it by its key."""
    world.ledger.do(call.model(StepInput).idempotency_key, call.name)
    return EffectResult(reference=call.name)


def _undo(world: World, call: Call) -> EffectResult:
    undo = call.model(UndoInput)
    world.ledger.undo(undo.idempotency_key, undo.undo_key)
    return EffectResult()


class Shop(World):
    """Stock, a carrier, payments and freight behind breakers, and notices that change nothing."""

    activities: ClassVar = {
        **PLATFORM,
        "validate_order": Activity(
            lambda world, call: {"total_minor": 100}, role="other", faults=QUIET_FAULTS
        ),
        **{name: Activity(_do, faults=ALL_FAULTS) for name in EFFECTS},
        "charge_payment": Activity(_do, faults=ALL_FAULTS, dependency="payments"),
        "book_freight": Activity(_do, faults=ALL_FAULTS, dependency="freight"),
        **{name: Activity(_undo, role="undo") for name in UNDOS},
        **{name: Activity(lambda world, call: {}, role="notice", faults=QUIET_FAULTS) for name in NOTICES},
    }


ORDER = OrderInput(
    order_id="o-1",
    lines=[OrderLine(sku="rail", quantity=1, unit_minor=100)],
    total_minor=100,
    rules=OrderRules(undo_attempts=2),
)
ASKED = ORDER.model_copy(update={"rules": OrderRules(undo_attempts=2, approval=ApprovalPolicy(needed=1))})
ORDERING = Scenario(
    OrderWorkflow,
    ASKED,
    Shop,
    SAGA,
    messages=[
        *cancels(),
        *spoken("approve", decision("approve-1")),
        Say("reject", decision("reject-1")),
        Say("resume", Resume(dependency="payments", lease="l-1"), times=2),
        Say("resume", Resume(dependency="freight", lease="l-2"), label="resume-freight"),
        *operator("retry", "settled_outside", "skip"),
        EDITS,
    ],
    closing=operator("settled_outside"),
    search_attributes=ORDERS,
)
ABROAD = variant(
    ORDERING,
    input=ORDER.model_copy(update={"strategy": Strategy.INTERNATIONAL}),
    name="OrderWorkflow, international",
)
UNASKED = variant(ORDERING, input=ORDER, name="OrderWorkflow, without approval")
PLAIN = variant(UNASKED, messages=[], native_cancel=False)
CANCELLED = variant(PLAIN, messages=cancels()[:1])
EVERYTHING = [ORDERING, ABROAD, UNASKED]
"""Each with every fault, message and cancellation."""


@pytest.mark.parametrize("scenario", EVERYTHING, ids=lambda scenario: scenario.label)
def test_an_order_is_delivered_or_undone_or_known_to_an_operator(scenario: Scenario) -> None:
    scenario.explore(traces=100, seed=1)


@pytest.mark.parametrize("together", ["charge_payment=ok + cancel", "cancel + charge_payment=ok"])
def test_an_order_that_is_cancelled_while_it_is_charged_is_not_shipped(together: str) -> None:
    story = told(CANCELLED, f"; validate_order=ok; reserve_stock=ok; {together}")
    assert "book_shipment" not in story


@pytest.mark.parametrize(
    "ends", ["charge_payment=lost; charge_payment=refused", "charge_payment=refused-after"]
)
def test_a_charge_that_may_have_happened_is_refunded(ends: str) -> None:
    story = told(PLAIN, f"; validate_order=ok; reserve_stock=ok; {ends}")
    assert "charge_payment is undone" in story


def test_a_bug_after_the_charge_does_not_end_the_order() -> None:
    """A bad deploy: the workflow task may fail until the code is repaired, but the run stays open."""
    go = OrderWorkflow._go

    def bad(self: OrderWorkflow, stage: Stage) -> None:
        if stage is Stage.SHIPPING:
            raise KeyError("carrier")
        go(self, stage)

    def stays_open(view: View) -> str | None:
        return f"It ended: {view.ended}." if view.task_failure and view.ended else None

    with mock.patch.object(OrderWorkflow, "_go", bad):
        broken = variant(
            PLAIN, task_failures=True, invariants=[*SAGA, stays_open], name="OrderWorkflow, a bug"
        )
        broken.explore(traces=20, seed=3)
        story = told(broken, "; validate_order=ok; reserve_stock=ok; charge_payment=ok")
    assert "KeyError" in story
