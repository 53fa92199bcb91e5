"""DynamicWorkflow, simulated: one activity, retried; its answer or its error is the run's."""

from __future__ import annotations

from typing import ClassVar

from tests.workers.explore.models import PLATFORM
from workers.patterns.dynamic.workflow import DynamicInput, DynamicWorkflow
from workers.testing.explore import Scenario
from workers.testing.invariants import always_waits_for_something, nothing_twice
from workers.testing.view import View
from workers.testing.world import Activity, Call, World


def _print(world: World, call: Call) -> str:
    world.ledger.do("label", "label")
    return "printed"


class Office(World):
    activities: ClassVar = {**PLATFORM, "print_label": Activity(_print)}


def a_completed_run_did_it(view: View) -> str | None:
    if view.ended == "completed" and view.result == "printed" and not view.world.ledger.standing():
        return "It completed, and nothing was printed."
    return None


DYNAMIC = Scenario(
    DynamicWorkflow,
    DynamicInput(activity_name="print_label", input={"text": "fragile"}),
    Office,
    [a_completed_run_did_it, nothing_twice, always_waits_for_something()],
)


def test_one_activity_runs_to_its_end() -> None:
    DYNAMIC.explore(traces=200, seed=1)


def test_every_trace_of_two_batches() -> None:
    report = DYNAMIC.explore(depth=2, seconds=10)
    assert report.exhausted
