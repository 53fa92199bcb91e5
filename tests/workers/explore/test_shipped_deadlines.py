"""The shipped deadlines end what they are about, to the second: the simulator's clock passes them."""

from __future__ import annotations

from typing import Any

import pytest

from orders.services import rules_for
from tests.workers.explore.test_approval import APPROVALS
from tests.workers.explore.test_breaker import BREAKERS, FAILURES
from tests.workers.explore.test_event_driven import EVENTS
from tests.workers.explore.test_order import ORDER, ORDERING
from workers.contracts import ApprovalPolicy
from workers.patterns.approval.messages import ApprovalRequest, EscalationRule
from workers.patterns.breaker.messages import BreakerState
from workers.patterns.breaker.plugin import breakers
from workers.patterns.events.messages import EventDrivenInput
from workers.registry.registry import registry
from workers.testing.driver import quiet
from workers.testing.explore import Scenario, variant
from workers.testing.server import STEP, Server

MINUTE, HOUR = 60.0, 3_600.0


def begun(scenario: Scenario, input: Any) -> Server:
    """A run that got as far as it gets without anything that takes time."""
    server = variant(scenario, input=input, messages=[]).server()
    server.task([])
    settle(server)
    return server


def settle(server: Server) -> None:
    """Everything answers, until only timers are left."""
    while not server.over:
        work = [item for item in server.progress() if not item.label.startswith("timer")]
        if not work:
            return
        server.task(work[0].make())


def next_timer(server: Server) -> float:
    """Let the next timer fire. Returns how many seconds after the latest task it was due."""
    since = server.clock
    timer = next(item for item in server.progress() if item.label.startswith("timer"))
    server.task(timer.make())
    waited = server.clock - STEP - since
    settle(server)
    return waited


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


def close(seconds: float) -> Any:
    """Tasks of the simulator take a moment each."""
    return pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize("seconds", [None, 72 * HOUR], ids=["as shipped", "72 hours"])
def test_an_approval_that_nobody_decides_expires_at_its_deadline(seconds: float | None) -> None:
    given = {} if seconds is None else {"seconds": seconds}
    server = begun(APPROVALS, ApprovalRequest(policy=ApprovalPolicy(needed=1), **given))
    assert next_timer(server) == close(seconds or 24 * HOUR)
    assert (server.ended, server.result["state"]) == ("completed", "expired")


def test_an_approval_escalates_before_it_ends() -> None:
    rules = [EscalationRule(after_seconds=48 * HOUR, roles=["boss"])]
    request = ApprovalRequest(policy=ApprovalPolicy(needed=1), seconds=72 * HOUR, escalations=rules)
    server = begun(APPROVALS, request)
    assert next_timer(server) == close(48 * HOUR)
    assert not server.ended
    assert next_timer(server) == close(24 * HOUR)
    assert server.result["state"] == "expired"


def test_an_order_waits_a_day_for_its_approval() -> None:
    rules = rules_for(10_000_000, "EUR")
    assert rules.approval
    server = begun(ORDERING, ORDER.model_copy(update={"rules": rules}))
    assert server.view.waiting_for == {"approval"}
    assert next_timer(server) == close(24 * HOUR)
    assert server.ended
    assert {effect.state for effect in server.world.ledger.effects.values()} == {"undone"}


def test_the_breaker_of_payments_lets_a_probe_try_after_five_minutes() -> None:
    registry.load()
    config = BreakerState.model_validate(breakers.configs["payments"].model_dump())
    server = begun(BREAKERS, config)
    server.task(server.say(FAILURES))
    settle(server)
    status = server.view.query("get_circuit_status")
    while status["state"] == "OPEN":
        waited = next_timer(server)
        status = server.view.query("get_circuit_status")
    assert waited == close(5 * MINUTE)
    assert status["state"] == "HALF_OPEN"


def test_a_day_without_an_event_ends_an_event_driven_workflow() -> None:
    server = begun(EVENTS, EventDrivenInput())
    assert next_timer(server) == close(24 * HOUR)
    assert server.result["reason"] == "inactivity"
