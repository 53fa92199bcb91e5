"""EventDrivenWorkflow, simulated: it ends by an event or by silence, and follows what it has recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from tests.workers.explore.models import PLATFORM, decision
from tests.workers.explore.test_entity import operator
from workers.patterns.events.event_driven_workflow import EventDrivenWorkflow
from workers.patterns.events.messages import EventDrivenInput, WorkflowEvent
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


def _act(world: World, call: Call) -> None:
    world.ledger.do(call.input["idempotency_key"], f"action on {call.input['event_id']}")


class Actions(World):
    activities: ClassVar = {**PLATFORM, "act": Activity(_act, faults=FAULTS, dependency="field")}


def every_event_is_followed(view: View) -> str | None:
    """An applied event of a type with an effect has had it, unless the state names it as given up."""
    if not view.final:
        return None
    done = {key.split("/")[-1] for key in view.world.ledger.effects}
    given_up = {failed["event_id"] for failed in view.query("get_state")["failed_effects"]}
    for _, label, arguments in view.received("workflow_event"):
        event = arguments[0] if arguments else None
        if not isinstance(event, WorkflowEvent) or event.type == "completed":
            continue
        if event.event_id in done | given_up:
            continue
        if view.query("get_decision", event.event_id)["outcome"] == "applied":
            return f"{label} ({event.event_id}) was recorded, and nothing followed."
    return None


def it_ends_as_it_says(view: View) -> str | None:
    stage = view.attributes.get("Stage")
    if view.ended == "cancelled" and stage != "cancelled":
        return f"The run was cancelled, but its Stage is {stage}."
    if view.ended == "completed":
        wanted = "cancelled" if view.result["reason"] == "cancelled" else "completed"
        return None if stage == wanted else f"It ended by {view.result['reason']}, but its Stage is {stage}."
    return None


def event(number: int, kind: str, key: str = "") -> WorkflowEvent:
    at = BEGIN + timedelta(seconds=number)
    return WorkflowEvent(event_id=f"e-{number}", at=at, type=kind, ordering_key=key)


EVENTS = Scenario(
    EventDrivenWorkflow,
    EventDrivenInput(
        effects={"moved": "act", "seen": "act"},
        best_effort=["seen"],
        effect_attempts=2,
        inactivity_seconds=600,
        most_events=40,
    ),
    Actions,
    [
        every_event_is_followed,
        it_ends_as_it_says,
        nothing_twice,
        waits_are_visible,
        always_waits_for_something(),
        history_bounded(events=200),
    ],
    messages=[
        *spoken("workflow_event", event(1, "moved", "a")),
        Say("workflow_event", event(2, "moved", "a"), "second"),
        Say("workflow_event", event(4, "seen"), "seen"),
        Say("workflow_event", event(3, "completed"), "completed"),
        *spoken("cancel", decision("cancel-1")),
        *spoken("resume", {"dependency": "field"}),
        operator("skip"),
        operator("retry"),
    ],
    closing=[operator("retry")],
    away=(60, 600),
)


BUSY = variant(
    EVENTS,
    name="events with effects",
    messages=[
        Say("workflow_event", event(1, "moved", "a")),
        Say("workflow_event", event(2, "moved", "a"), "second"),
        Say("workflow_event", event(4, "seen"), "seen"),
        Say("resume", {"dependency": "field"}, times=3),
        operator("skip"),
        operator("retry"),
    ],
)


def test_what_was_recorded_is_followed_once_whatever_is_sent() -> None:
    EVENTS.explore(traces=300, seed=1)


def test_what_was_recorded_is_followed_once_whatever_fails() -> None:
    BUSY.explore(traces=300, seed=1)
