"""Activities by their own code in a simulation, with a worker's interceptors around them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from tests.workers.explore.models import PLATFORM
from workers.patterns.saga.messages import StepCall
from workers.patterns.saga.plan import SagaPlan, SagaStep
from workers.patterns.saga.workflow import SagaWorkflow
from workers.testing.explore import Scenario, Violation
from workers.testing.invariants import no_forgotten_effect
from workers.testing.registered import registered
from workers.testing.world import Activity, World

CALLS: list[str] = []


@activity.defn
async def charge_card(call: StepCall) -> dict[str, str]:
    CALLS.append(f"{activity.info().activity_id} attempt {activity.info().attempt}")
    return {"credit_card": "4111"} if call.input == "secret" else {"ok": call.idempotency_key}


class Seen(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Seen(next)


class _Seen(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        CALLS.append("seen")
        return await super().execute_activity(input)


class Office(World):
    charge = Activity(registered(charge_card, [Seen()]), faults=frozenset({"error"}))
    activities: ClassVar = {**PLATFORM, "charge_card": charge}


def saga(given: str) -> Scenario:
    plan = SagaPlan(steps=[SagaStep(activity="charge_card", input=given)])
    return Scenario(SagaWorkflow, plan, Office, [no_forgotten_effect], native_cancel=False)


def test_the_function_runs_with_its_interceptors_and_its_attempt() -> None:
    CALLS.clear()
    story = saga("plain").explore(replay="; resolve_activities.1=ok; charge_card=error").story
    assert CALLS == ["seen", "charge_card attempt 2"]
    assert '"ok": "run-1/charge_card/1"' in story


def test_what_the_payload_policy_refuses_fails_the_finished_activity() -> None:
    CALLS.clear()
    story = saga("secret").explore(replay="").story
    assert "charge_card attempt 1" in CALLS
    assert "charge_card failed" in story


def test_a_violation_names_its_line() -> None:
    broken = saga("plain")
    broken.invariants = [lambda view: "always" if view.final else None]
    with pytest.raises(Violation, match="replay="):
        broken.explore(traces=1)
