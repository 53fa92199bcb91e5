"""EventDrivenWorkflow, simulated: it ends by an event or by silence, and follows what it has taken in."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.workers.explore.models import PLATFORM
from workers.patterns.events.event_driven_workflow import EventDrivenInput, EventDrivenWorkflow, WorkflowEvent
from workers.testing.explore import Scenario, Violation, variant
from workers.testing.invariants import always_waits_for_something, history_bounded, nothing_twice
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import FAULTS, Activity, Call, World


def _act(world: World, call: Call) -> None:
    world.ledger.do(call.input["idempotency_key"], f"action on {call.input['event_id']}")


class Field(World):
    activities: ClassVar = {**PLATFORM, "act": Activity(_act, faults=FAULTS - {"refused"})}


def every_event_is_followed(view: View) -> str | None:
    """An applied event of a type with an action has been acted on, unless the result names it as failed."""
    if not view.final:
        return None
    done = {key.split("/")[-1] for key in view.world.ledger.effects}
    for _, label, arguments in view.said("workflow_event"):
        event = arguments[0] if arguments else None
        if not isinstance(event, WorkflowEvent) or event.type != "moved" or event.event_id in done:
            continue
        if view.query("get_decision", event.event_id)["outcome"] == "applied":
            return f"{label} ({event.event_id}) was taken in, and nothing followed."
    return None


def event(number: int, kind: str) -> WorkflowEvent:
    return WorkflowEvent(event_id=f"e-{number}", type=kind)


EVENTS = Scenario(
    EventDrivenWorkflow,
    EventDrivenInput(actions={"moved": "act"}, inactivity_seconds=600, most_events=40),
    Field,
    [every_event_is_followed, nothing_twice, always_waits_for_something(), history_bounded(events=200)],
    messages=[
        *spoken("workflow_event", event(1, "moved")),
        Say("workflow_event", event(2, "moved"), "second"),
        Say("workflow_event", event(3, "completed"), "completed"),
    ],
    native_cancel=False,
    away=(60, 600),
)


def test_what_was_taken_in_is_followed_once() -> None:
    EVENTS.explore(traces=300, seed=1)


@pytest.mark.xfail(strict=True, raises=Violation, reason="a native cancel drops the actions that are pending")
def test_a_cancelled_run_follows_what_it_has_taken_in() -> None:
    variant(EVENTS, native_cancel=True).explore(traces=300, seed=2)
