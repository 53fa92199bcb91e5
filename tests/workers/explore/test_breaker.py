"""BreakerWorkflow, simulated: a dependency that is healthy again is called again."""

from __future__ import annotations

from typing import ClassVar

from temporalio.exceptions import ApplicationError

from tests.workers.explore.models import PLATFORM, decision
from workers.patterns.breaker.activities import NONE_HELD
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.workflow import BreakerState, BreakerWorkflow
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import always_waits_for_something, history_bounded
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import Activity, Call, World

FIRST_TASK_EVENTS = 4  # started, and the workflow task that is scheduled, started and completed


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
    if not view.final or len(view.received("report")) < 4:
        return None
    status = view.query("get_circuit_status")
    leased = status["probe_lease"] or status["probe_claimable"]
    if status["state"] == "HALF_OPEN" and not leased and not status["forced"]:
        return "It is half open, no call may probe, and every caller is refused."
    return None


def the_attribute_is_the_state(view: View) -> str | None:
    """CircuitState says what get_circuit_status says, once a task is over."""
    if view.ended or view.task_failure or not view.attributes.get("CircuitState"):
        return None
    state = view.query("get_circuit_status")["state"]
    told = view.attributes["CircuitState"]
    return None if told == state else f"CircuitState is {told}, the breaker {state}."


def as_the_gate_reports(view: View) -> Report:
    """A refused call claims the probe when nobody has it; who has it calls, and the dependency works."""
    if view.events <= FIRST_TASK_EVENTS:  # a server answers no query before the first task of a run is done
        return report(view.tasks + 1_000, refused=1)
    status = view.query("get_circuit_status")
    if lease := status["probe_lease"]:
        return report(view.tasks + 1_000, epoch=status["epoch"], lease=lease, healthy=True)
    claim = f"claim-{view.tasks}" if status["probe_claimable"] else ""
    return report(view.tasks + 1_000, refused=1, claim=claim)


def report(seq: int, **more: object) -> Report:
    return Report(process="p", seq=seq, **more)


FAILURES = Say(
    "report", lambda view: report(view.tasks + 1, calls=5, failures=5, tail=5), "failures", times=2
)
CALLS = Say("report", as_the_gate_reports, "calls", times=4)
CONFIG = BreakerState.model_validate(BreakerConfig(dependency="payments", open_seconds=30).model_dump())
BREAKERS = Scenario(
    BreakerWorkflow,
    CONFIG,
    Unheld,
    [always_waits_for_something(idle=lambda view: True), history_bounded()],
    messages=[
        FAILURES,
        CALLS,
        *spoken("force_open", decision("open-1", reason="Down.")),
        *spoken("force_close", decision("close-1", reason="Up.")),
        Say("release", decision("release-1", reason="Go.")),
        *spoken("probe", decision("probe-1", reason="Try.")),
    ],
    native_cancel=False,
    away=(30,),
)


def test_a_breaker_whose_callers_are_not_held_closes() -> None:
    alone = Scenario(
        BreakerWorkflow,
        CONFIG,
        Unheld,
        [closes_in_the_end],
        messages=[FAILURES],
        closing=[CALLS],
        native_cancel=False,
    )
    alone.explore(traces=100, seed=1)


def test_the_list_shows_the_state_of_a_breaker() -> None:
    variant(BREAKERS, invariants=[the_attribute_is_the_state]).explore(traces=50, seed=2)


def test_a_breaker_goes_on_whatever_it_is_told() -> None:
    BREAKERS.explore(traces=250, seed=3)
