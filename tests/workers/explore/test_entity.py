"""EventSourcedWorkflow, simulated: each recorded event has its effect, once, or an operator knows."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from tests.workers.explore.models import PLATFORM, decision, stuck
from workers.patterns.events.account import Amount, PlaceOrder, ProcessPayment
from workers.patterns.events.entity_workflow import EventSourcedWorkflow
from workers.patterns.events.messages import EntityInput
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import (
    always_waits_for_something,
    history_bounded,
    nothing_twice,
    waits_are_visible,
)
from workers.testing.messages import Say, spoken
from workers.testing.server import BEGIN
from workers.testing.view import View
from workers.testing.world import FAULTS, Activity, Call, World


def _send(world: World, call: Call) -> None:
    world.ledger.do(call.input["idempotency_key"], f"mail on {call.input['event_id']}")


class Mail(World):
    activities: ClassVar = {**PLATFORM, "send_mail": Activity(_send, faults=FAULTS, dependency="mail")}


def every_event_has_its_effect(view: View) -> str | None:
    """What was applied has its effect, or is pending in an open run, or was skipped by an operator."""
    if not view.final:
        return None
    done = {key.split("/")[-1] for key in view.world.ledger.effects}
    state = view.query("get_state")
    pending = set() if view.ended else set(state["pending"])
    skipped = {failed["event_id"] for failed in state["failed_effects"] if failed["choice"] == "skip"}
    for _, label, arguments in view.received("place_order"):
        event_id = getattr(arguments[0], "event_id", "") if arguments else ""
        if not event_id or view.query("get_decision", event_id)["outcome"] != "applied":
            continue
        if event_id not in done | pending | skipped:
            return f"{label} ({event_id}) was recorded, but its mail is neither sent nor pending."
    return None


def the_stage_is_true(view: View) -> str | None:
    """At the end Stage says how it ended; a failed effect is shown while it waits for an operator."""
    stage = view.attributes.get("Stage")
    if view.ended and stage != {"completed": "closed", "cancelled": "cancelled"}.get(view.ended):
        return f"The run is {view.ended}, but its Stage is {stage}."
    if not view.ended and not view.task_failure and view.answers("get_state"):
        waiting = [failed for failed in view.query("get_state")["failed_effects"] if not failed["choice"]]
        if bool(waiting) != stuck(view):
            return f"{len(waiting)} effects wait for an operator, WaitingFor is {sorted(view.waiting_for)}."
    return None


def operator(choice: str, *, times: int = 3) -> Say:
    """An operator settles the oldest failed effect."""
    return Say(
        "resolve",
        lambda view: decision(f"{choice}-{view.tasks}", choice=choice, evidence="Seen in the outbox."),
        label=f"operator-{choice}",
        times=times,
        when=stuck,
    )


AT = BEGIN + timedelta(seconds=1)
PLACE = PlaceOrder(event_id="e-1", at=AT, order_id="o-1", amount=Amount(minor=100, currency="EUR"))
SECOND = PLACE.model_copy(update={"event_id": "e-2", "order_id": "o-2"})
PAY = ProcessPayment(event_id="e-3", at=AT, order_id="o-1", amount=Amount(minor=100, currency="EUR"))
ENTITIES = Scenario(
    EventSourcedWorkflow,
    EntityInput(effects={"place_order": "send_mail"}, effect_attempts=2, most_events=40),
    Mail,
    [
        every_event_has_its_effect,
        the_stage_is_true,
        nothing_twice,
        waits_are_visible,
        always_waits_for_something(idle=lambda view: view.attributes.get("Stage") == "open"),
        history_bounded(events=200),
    ],
    messages=[
        *spoken("place_order", PLACE),
        Say("place_order", SECOND, "second"),
        *spoken("process_payment", PAY),
        *spoken("close_account", decision("close-1")),
        *spoken("resume", {"dependency": "mail"}),
        *spoken("resolve", decision("early", choice="skip", evidence="none")),
        operator("skip"),
        operator("retry"),
    ],
    closing=[operator("retry")],
    search_attributes=(),
)


# With fewer odd messages more happens to effects, in several runs of the chain.
BUSY = variant(
    ENTITIES,
    name="account with effects",
    input=EntityInput(effects={"place_order": "send_mail"}, effect_attempts=2, most_events=20),
    messages=[
        Say("place_order", PLACE),
        Say("place_order", SECOND, "second"),
        Say("place_order", PLACE, "repeat", times=3),
        Say("resume", {"dependency": "mail"}, times=3),
        operator("skip"),
        operator("retry"),
    ],
    closing=[operator("retry")],
)


def test_every_event_has_its_effect_once_whatever_is_sent() -> None:
    ENTITIES.explore(traces=300, seed=1)


def test_every_event_has_its_effect_once_whatever_fails() -> None:
    BUSY.explore(traces=300, seed=1)


def test_a_small_account_to_the_depth_of_all_pairs() -> None:
    few = [Say("place_order", PLACE), Say("close_account", decision("close-1")), operator("skip", times=1)]
    variant(ENTITIES, messages=few, name="account, all pairs").explore(depth=2, seconds=20)
