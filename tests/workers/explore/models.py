"""Models of the platform's own activities, and of steps and undos that keep a ledger; shared by the
worlds."""

from __future__ import annotations

from typing import Any

from workers.contracts import Decision
from workers.testing.explore import Scenario
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import FAULTS, QUIET_FAULTS, Activity, Call, World

ALL_FAULTS = FAULTS | {"declined", "refused-after"}


def _resolve_activities(world: World, call: Call) -> dict[str, Any]:
    return {name: {"name": name, "queue": "q", "takes_input": True} for name in call.input["names"]}


def nothing(world: World, call: Call) -> None:
    """It changes nothing outside."""


PLATFORM = {
    "resolve_activities": Activity(_resolve_activities, role="other", faults=QUIET_FAULTS),
    "raise_alert": Activity(nothing, role="other", faults=QUIET_FAULTS),
    "audit.record": Activity(nothing, role="other", faults=frozenset()),
}


def step(world: World, call: Call) -> dict[str, str]:
    """A step that takes a StepCall; its effect is called as its input says."""
    world.ledger.do(call.input["idempotency_key"], str(call.input["input"]))
    return {"done": str(call.input["input"])}


def undo(world: World, call: Call) -> None:
    """An undo that takes an UndoCall."""
    world.ledger.undo(call.input["idempotency_key"], call.input["undo_key"])


def told(scenario: Scenario, replay: str) -> str:
    """The story of one trace. Fails when a batch of it could not happen: a replay leaves such out."""
    story = scenario.explore(replay=replay).story
    batches = [batch.strip() for batch in replay.split(";") if batch.strip()]
    missing = [batch for batch in batches if f": {batch}\n" not in story]
    assert not missing, f"{missing} did not happen.\n{story}"
    return story


def decision(name: str = "d", **more: Any) -> Decision:
    return Decision(decision_id=name, actor="ann", **more)


def cancels() -> list[Say]:
    """A person cancels: rightly, again, with garbage, without a body."""
    return spoken("cancel", decision("cancel-1"))


def stuck(view: View) -> bool:
    return "operator" in view.waiting_for


def operator(*choices: str, evidence: str = "Seen in the bank's own list.") -> list[Say]:
    """An operator settles what is stuck."""
    return [
        Say(
            "resolve_compensation",
            lambda view, choice=choice: decision(f"{choice}-{view.tasks}", choice=choice, evidence=evidence),
            label=f"operator-{choice}",
            times=3,
            when=stuck,
        )
        for choice in choices
    ]


EDITS = Say(
    "resolve_compensation",
    lambda view: decision(f"edit-{view.tasks}", choice="retry", input={"iban": "corrected"}),
    label="operator-edits",
    when=stuck,
)
"""A person has the undo tried again, with another input."""
