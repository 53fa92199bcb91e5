"""CircuitBreakerWorkflow, simulated: it ends with what the operation answered, or says why it gave up."""

from __future__ import annotations

from typing import ClassVar

from tests.workers.explore.models import PLATFORM, cancels, decision
from workers.patterns.single_operation.workflow import CircuitBreakerWorkflow, CircuitOperation
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import always_waits_for_something, nothing_twice, verdicts_hold
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import FAULTS, Activity, Call, World


def _pay(world: World, call: Call) -> str:
    world.ledger.do(call.input["key"], "payment")
    return "paid"


class Bank(World):
    activities: ClassVar = {**PLATFORM, "pay": Activity(_pay, faults=FAULTS)}


def the_attribute_is_the_state(view: View) -> str | None:
    """CircuitState says what get_circuit_status says, once a task is over."""
    attribute = view.attributes.get("CircuitState")
    if view.ended or view.task_failure or not attribute:
        return None
    state = view.query("get_circuit_status")["state"]
    return None if attribute == state else f"CircuitState is {attribute}, the breaker {state}."


def it_ends_with_the_answer(view: View) -> str | None:
    """Completed, the operation has answered; refused or given up, the failure says so."""
    if view.ended == "completed" and (view.result != "paid" or not view.world.ledger.standing()):
        return f"It completed with {view.result}, and nothing was paid."
    kinds = {"Refused", "OperationUnavailable", "OperationCancelled"}
    if view.ended == "failed" and view.failure[1] not in kinds:
        return f"It failed with {view.failure}."
    return None


OPERATION = CircuitOperation(
    activity="pay", input={"key": "p-1"}, open_seconds=30, threshold=2, max_openings=3, try_seconds=5
)
OPERATIONS = Scenario(
    CircuitBreakerWorkflow,
    OPERATION,
    Bank,
    [
        the_attribute_is_the_state,
        it_ends_with_the_answer,
        nothing_twice,
        verdicts_hold,
        always_waits_for_something(idle=lambda view: view.query("get_circuit_status")["forced"]),
    ],
    messages=[
        *cancels(),
        *spoken("probe", decision("probe-1", reason="Try.")),
        *spoken("force_open", decision("open-1", reason="Down.")),
        Say("force_close", decision("close-1", reason="Up.")),
        Say("release", decision("release-1", reason="Go.")),
    ],
    closing=[Say("release", lambda view: decision(f"release-{view.tasks}", reason="Go."))],
)


def test_an_operation_is_tried_until_it_works_or_is_given_up() -> None:
    variant(OPERATIONS, messages=(), native_cancel=False).explore(traces=150, seed=1)


def test_a_cancel_before_the_first_try_holds() -> None:
    OPERATIONS.explore(replay="cancel")


def test_an_operation_does_what_operators_were_told() -> None:
    OPERATIONS.explore(traces=250, seed=2)
