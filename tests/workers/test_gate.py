"""The gate of one process, with a breaker at its edge that answers slowly, late, or not at all."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from tests.support import eventually
from workers.contracts import CircuitState, CircuitStatus
from workers.interceptors.gate import Gate
from workers.patterns.breaker import CIRCUIT_OPEN, Report


class Breaker:
    """Stands for the client, the handle, and the breaker workflow behind it."""

    def __init__(self, state: CircuitState = CircuitState.CLOSED, **more: Any) -> None:
        self.status = CircuitStatus(
            state=state, dependency="payments", threshold=3, open_seconds=60, epoch=4, **more
        )
        self.questions = 0
        self.reports: list[Report] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.away = False

    def get_workflow_handle(self, workflow_id: str) -> Breaker:
        assert workflow_id == "breaker-payments"
        return self

    async def query(self, name: str, **_: Any) -> CircuitStatus:
        self.questions += 1
        await self.answers.wait()
        if self.away:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        return self.status

    async def signal(self, name: str, report: Report, **_: Any) -> None:
        self.reports.append(report)

    def gate(self) -> Gate:
        return Gate(cast(Client, self), "payments")


async def refused(gate: Gate, lease: str = "", attempt: int = 1) -> bool:
    try:
        await gate.admit(lease, attempt)
    except ApplicationError as error:
        return (error.type, error.non_retryable, *error.details) == (CIRCUIT_OPEN, True, "payments", attempt)
    return False


async def test_asks_once_a_second_however_many_call() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    assert await asyncio.gather(*(gate.admit("", 1) for _ in range(50))) == [(4, False)] * 50
    assert breaker.questions == 1


async def test_a_slow_breaker_delays_a_call_half_a_second_at_most_and_admits() -> None:
    breaker = Breaker()
    breaker.answers.clear()
    gate = breaker.gate()
    began = time.monotonic()
    assert await gate.admit("", 1) == (0, False)
    assert 0.4 < time.monotonic() - began < 2
    breaker.answers.set()


async def test_a_breaker_that_is_away_keeps_its_last_state_and_delays_nobody() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.away = True
    await gate._confirm()
    assert gate.stale
    breaker.answers.clear()
    began = time.monotonic()
    assert await refused(gate)
    assert time.monotonic() - began < 0.3
    breaker.answers.set()


async def test_refuses_after_its_own_failures_without_waiting_for_the_breaker() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    for _ in range(3):
        epoch, _probing = await gate.admit("", 1)
        gate.note(epoch, failed=True, error="away")
    assert await refused(gate, attempt=2)
    await eventually(lambda: breaker.reports)
    assert [(report.calls, report.tail, report.epoch) for report in breaker.reports] == [(3, 3, 4)]
    await gate._confirm()
    assert await refused(gate), "the answer is of before our report"


async def test_a_success_between_failures_opens_nothing() -> None:
    breaker = Breaker()
    gate = breaker.gate()
    for failed in (True, True, False, True, True):
        epoch, _probing = await gate.admit("", 1)
        gate.note(epoch, failed=failed)
    assert not await refused(gate)
    await eventually(lambda: breaker.reports)
    report = breaker.reports[0]
    assert (report.calls, report.failures, report.tail) == (5, 4, 2)


async def test_half_open_admits_the_lease_once_and_reports_at_once() -> None:
    breaker = Breaker(CircuitState.HALF_OPEN, probe_lease="lease")
    gate = breaker.gate()
    assert await refused(gate)
    assert await refused(gate, "another")
    epoch, probing = await gate.admit("lease", 1)
    assert probing
    assert await refused(gate, "lease", attempt=2)
    gate.note(epoch, lease="lease")
    probes = await eventually(lambda: [report for report in breaker.reports if report.lease])
    assert [(probe.lease, probe.healthy) for probe in probes] == [("lease", True)]
    assert not await refused(gate), "our own copy closed with our own probe"


async def test_a_lease_that_was_lent_after_the_last_question_is_asked_for() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.status = CircuitStatus(
        state=CircuitState.HALF_OPEN,
        dependency="payments",
        threshold=3,
        open_seconds=60,
        epoch=5,
        probe_lease="new",
    )
    assert await gate.admit("new", 1) == (5, True)


async def test_a_lease_is_worth_a_long_wait() -> None:
    """A probe turned away on a slow machine would hold everybody until its lease runs out."""
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.answers.clear()
    call = asyncio.create_task(gate.admit("lease-1", 1))
    await eventually(lambda: breaker.questions == 2)
    breaker.status = breaker.status.model_copy(
        update={"state": CircuitState.HALF_OPEN, "epoch": 5, "probe_lease": "lease-1"}
    )
    await asyncio.sleep(0.6)  # longer than a call without a lease waits
    breaker.answers.set()
    assert await call == (5, True)


async def test_a_question_from_before_the_lease_does_not_answer_for_it() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    breaker.answers.clear()
    bare = asyncio.create_task(refused(gate))
    await eventually(lambda: breaker.questions == 1)
    probe = asyncio.create_task(gate.admit("lease-1", 1))
    await asyncio.sleep(0)
    breaker.answers.set()
    await bare
    breaker.status = breaker.status.model_copy(
        update={"state": CircuitState.HALF_OPEN, "epoch": 5, "probe_lease": "lease-1"}
    )
    assert await probe == (5, True)
    assert breaker.questions == 2


async def test_a_lease_that_nobody_can_confirm_is_honoured_once() -> None:
    breaker = Breaker(CircuitState.OPEN)
    gate = breaker.gate()
    assert await refused(gate)
    breaker.away = True
    assert await gate.admit("lease-1", 1) == (4, True)
    assert await refused(gate, "lease-1", 2)


@pytest.mark.parametrize("state", [CircuitState.OPEN, CircuitState.HALF_OPEN])
async def test_refusals_are_reported_only_when_they_can_wake_the_breaker(state: CircuitState) -> None:
    breaker = Breaker(state)
    gate = breaker.gate()
    assert await refused(gate)
    assert (gate._due is not None) == (state is CircuitState.HALF_OPEN)
