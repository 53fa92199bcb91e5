"""BreakerWorkflow, simulated: a dependency that is healthy again is called again."""

from __future__ import annotations

from typing import ClassVar

import pytest
from temporalio.exceptions import ApplicationError

from tests.workers.explore.models import PLATFORM, decision
from workers.patterns.breaker.activities import NONE_HELD
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.workflow import BreakerState, BreakerWorkflow
from workers.testing.explore import Scenario, Violation, variant
from workers.testing.invariants import always_waits_for_something, history_bounded
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import Activity, Call, World


def _nobody(world: World, call: Call) -> str:
    raise ApplicationError("Nothing is held.", type=NONE_HELD)


class Unheld(World):
    """No caller waits in a hold: plain `execute_activity` fails, and its workflow calls again later."""

    faults = frozenset({"error", "dropped"})
    activities: ClassVar = {
        **PLATFORM,
        "offer_probe": Activity(_nobody, role="other", faults=faults),
        "find_held": Activity(lambda world, call: "", role="other", faults=faults),
        "release_held": Activity(lambda world, call: 0, role="other", faults=faults),
    }


def closes_in_the_end(view: View) -> str | None:
    """Callers have come again and again, and the dependency would work: the breaker must let one of them
    try."""
    if not view.final or len(view.said("report")) < 4:
        return None
    status = view.query("get_circuit_status")
    if status["state"] == "HALF_OPEN" and not status["probe_lease"] and not status["forced"]:
        return "It is half open, nobody may probe, and every caller is refused."
    return None


def the_attribute_is_the_state(view: View) -> str | None:
    """CircuitState says what get_circuit_status says, once a task is over."""
    if view.ended or view.task_failure or not view.attributes.get("CircuitState"):
        return None
    state = view.query("get_circuit_status")["state"]
    told = view.attributes["CircuitState"]
    return None if told == state else f"CircuitState is {told}, the breaker {state}."


def report(seq: int, **more: object) -> Report:
    return Report(process="p", seq=seq, **more)


FAILURES = Say(
    "report", lambda view: report(view.tasks + 1, calls=5, failures=5, tail=5), "failures", times=2
)
REFUSALS = Say("report", lambda view: report(view.tasks + 1_000, refused=1), "refusals", times=4)
CONFIG = BreakerState.model_validate(BreakerConfig(dependency="payments", open_seconds=30).model_dump())
BREAKERS = Scenario(
    BreakerWorkflow,
    CONFIG,
    Unheld,
    [always_waits_for_something(idle=lambda view: True), history_bounded()],
    messages=[
        FAILURES,
        REFUSALS,
        *spoken("force_open", decision("open-1", reason="Down.")),
        *spoken("force_close", decision("close-1", reason="Up.")),
        Say("release", decision("release-1", reason="Go.")),
        *spoken("probe", decision("probe-1", reason="Try.")),
    ],
    native_cancel=False,
    away=(30,),
)


@pytest.mark.xfail(
    strict=True, reason="half open with no held workflow, it waits for ever and refuses every caller"
)
def test_a_breaker_whose_callers_are_not_held_closes() -> None:
    alone = Scenario(
        BreakerWorkflow,
        CONFIG,
        Unheld,
        [closes_in_the_end],
        messages=[FAILURES],
        closing=[REFUSALS],
        native_cancel=False,
    )
    alone.explore(traces=100, seed=1)


@pytest.mark.xfail(
    strict=True, raises=Violation, reason="CircuitState is written only after the activity that is under way"
)
def test_the_list_shows_the_state_of_a_breaker() -> None:
    variant(BREAKERS, invariants=[the_attribute_is_the_state]).explore(traces=50, seed=2)


def test_a_breaker_goes_on_whatever_it_is_told() -> None:
    BREAKERS.explore(traces=250, seed=3)
