"""OrderWorkflow, simulated: goods, money and parcel stand together or not at all, or a person knows."""

from __future__ import annotations

from typing import ClassVar
from unittest import mock

from orders.attributes import ORDERS
from orders.messages import EffectResult, OrderInput, OrderLine, OrderRules, Stage, StepInput, UndoInput
from orders.workflows.order import OrderWorkflow
from tests.workers.explore.models import ALL_FAULTS, PLATFORM, cancels, decision, operator
from workers.contracts import ApprovalPolicy, Resume
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import SAGA
from workers.testing.messages import Say, spoken
from workers.testing.world import FAULTS, QUIET_FAULTS, Activity, Call, World

EFFECTS = ("reserve_stock", "charge_payment", "book_shipment")
UNDOS = ("release_stock", "refund_payment", "cancel_shipment")
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
    """Stock, payments behind a breaker, a carrier, and notices that change nothing."""

    activities: ClassVar = {
        **PLATFORM,
        "validate_order": Activity(
            lambda world, call: {"total_minor": 100}, role="other", faults=QUIET_FAULTS
        ),
        **{name: Activity(_do) for name in EFFECTS},
        "charge_payment": Activity(_do, dependency="payments"),
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
        *operator("retry", "settled_outside", "skip"),
    ],
    closing=operator("settled_outside"),
    search_attributes=ORDERS,
)
HEALTHY = Scenario(
    OrderWorkflow, ORDER, Shop, SAGA, native_cancel=False, closing=operator("skip"), search_attributes=ORDERS
)


def test_a_cancelled_order_is_not_delivered() -> None:
    variant(HEALTHY, messages=cancels()).explore(traces=300, seed=1)


def test_an_order_that_is_cancelled_while_it_is_charged_is_not_shipped() -> None:
    alone = variant(HEALTHY, messages=[Say("cancel", decision("cancel-1"))])
    alone.explore(replay="; validate_order=ok; reserve_stock=ok; charge_payment=ok + cancel")


def test_what_may_have_happened_before_a_refusal_is_undone() -> None:
    sequence = "; validate_order=ok; reserve_stock=ok; charge_payment=lost; charge_payment=refused"
    HEALTHY.explore(replay=sequence)


def test_a_charge_whose_answer_may_not_be_sent_is_refunded() -> None:
    class Secretive(Shop):
        activities: ClassVar = {**Shop.activities, "charge_payment": Activity(_do, faults=ALL_FAULTS)}

    sequence = "; validate_order=ok; reserve_stock=ok; charge_payment=refused-after"
    variant(HEALTHY, world=Secretive).explore(replay=sequence)


def test_a_bug_after_the_charge_does_not_end_the_order() -> None:
    """A bad deploy: the workflow task may fail until the code is repaired, but the run stays open."""
    go = OrderWorkflow._go

    def bad(self: OrderWorkflow, stage: Stage) -> None:
        if stage is Stage.SHIPPING:
            raise KeyError("carrier")
        go(self, stage)

    with mock.patch.object(OrderWorkflow, "_go", bad):
        variant(HEALTHY, task_failures=True).explore(traces=20, seed=3)


def test_an_order_without_cancel_and_refusals_is_delivered_or_undone() -> None:
    """What is sound today: votes, breakers, lost and late answers."""

    faults = FAULTS - {"refused"}

    class Sound(Shop):
        activities: ClassVar = {
            **Shop.activities,
            "reserve_stock": Activity(_do, faults=faults),
            "charge_payment": Activity(_do, faults=faults, dependency="payments"),
            "book_shipment": Activity(_do, faults=faults),
        }

    votes = [say for say in ORDERING.messages if say.name != "cancel"]
    variant(ORDERING, world=Sound, messages=votes, native_cancel=False).explore(traces=250, seed=4)
