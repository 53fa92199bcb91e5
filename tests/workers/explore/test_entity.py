"""EventSourcedWorkflow, simulated: each event that was taken in has its effect, once, or a person knows."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pytest

from tests.workers.explore.models import PLATFORM, decision
from workers.patterns.events.account import Amount, PlaceOrder, ProcessPayment
from workers.patterns.events.entity import EntityInput
from workers.patterns.events.entity_workflow import EventSourcedWorkflow
from workers.testing.explore import Scenario, Violation, variant
from workers.testing.invariants import always_waits_for_something, history_bounded, nothing_twice
from workers.testing.messages import Say, spoken
from workers.testing.server import BEGIN
from workers.testing.view import View
from workers.testing.world import FAULTS, Activity, Call, World


def _send(world: World, call: Call) -> None:
    world.ledger.do(call.input["idempotency_key"], f"mail on {call.input['event_id']}")


class Post(World):
    activities: ClassVar = {**PLATFORM, "send_mail": Activity(_send, faults=FAULTS - {"refused"})}


class GuardedPost(World):
    activities: ClassVar = {**PLATFORM, "send_mail": Activity(_send, faults=frozenset(), dependency="mail")}


def every_event_has_its_effect(view: View) -> str | None:
    """What was applied is followed: done outside, or still pending, or known to a person."""
    if not view.final or view.waiting_for:
        return None
    done = {key.split("/")[-1] for key in view.world.ledger.effects}
    pending = set() if view.ended else set(view.query("get_state")["pending"])
    for _, label, arguments in view.said("place_order"):
        event_id = getattr(arguments[0], "event_id", "") if arguments else ""
        if not event_id or view.query("get_decision", event_id)["outcome"] != "applied":
            continue
        if event_id not in done | pending:
            return f"{label} ({event_id}) was taken in, but its mail is neither sent nor pending."
    return None


AT = BEGIN + timedelta(seconds=1)
PLACE = PlaceOrder(event_id="e-1", at=AT, order_id="o-1", amount=Amount(minor=100, currency="EUR"))
SECOND = PLACE.model_copy(update={"event_id": "e-2", "order_id": "o-2"})
PAY = ProcessPayment(event_id="e-3", at=AT, order_id="o-1", amount=Amount(minor=100, currency="EUR"))
ENTITIES = Scenario(
    EventSourcedWorkflow,
    EntityInput(effects={"place_order": "send_mail"}, most_events=40),
    Post,
    [
        every_event_has_its_effect,
        nothing_twice,
        always_waits_for_something(idle=lambda view: True),
        history_bounded(events=200),
    ],
    messages=[
        *spoken("place_order", PLACE),
        Say("place_order", SECOND, "second"),
        *spoken("process_payment", PAY),
        Say("close_account", decision("close-1")),
    ],
    native_cancel=False,
)


@pytest.mark.xfail(
    strict=True, reason="a breaker's refusal is taken for a failure for good, and the effect is dropped"
)
def test_an_effect_behind_an_open_breaker_is_not_dropped() -> None:
    variant(ENTITIES, world=GuardedPost).explore(traces=200, seed=1)


@pytest.mark.xfail(strict=True, raises=Violation, reason="a native cancel drops the effects that are pending")
def test_a_cancelled_entity_finishes_its_effects() -> None:
    variant(ENTITIES, native_cancel=True).explore(traces=300, seed=2)


def test_every_event_is_followed_once_in_all_runs_of_the_chain() -> None:
    ENTITIES.explore(traces=300, seed=3)
