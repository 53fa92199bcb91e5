"""The acts of people on a breaker, and its answers: shared by all workflows that keep a machine."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.contracts import CircuitState, CircuitStatus, Outcome, Status, Verdict
    from workers.patterns.breaker.actions import force, release
    from workers.patterns.breaker.machine import Machine
    from workers.patterns.decisions import NO_BODY, DecisionLog, lenient_signal

CALM = {
    CircuitState.CLOSED: "Calls go through.",
    CircuitState.OPEN: "Calls are refused.",
    CircuitState.HALF_OPEN: "One probe decides whether calls go through again.",
}


class BreakerActs:
    """Base of workflows that keep a Machine: force_open, force_close and release, each once by its id."""

    _machine: Machine
    _book: DecisionLog
    _updated_at: datetime

    def _moved(self, before: CircuitState) -> None:
        """Something happened, and the machine may be in another state than `before`."""
        self._updated_at = workflow.now()

    def _released(self) -> None:
        """A person wants what is held to be let go, and nothing is forced."""

    @workflow.signal(name="force_open", description="Refuse all calls until a time. Body: a Decision.")
    @lenient_signal
    def force_open(self, raw: RawValue = NO_BODY) -> None:
        self._force(raw, CircuitState.OPEN)

    @workflow.signal(name="force_close", description="Admit all calls until a time. Body: a Decision.")
    @lenient_signal
    def force_close(self, raw: RawValue = NO_BODY) -> None:
        self._force(raw, CircuitState.CLOSED)

    @workflow.signal(
        name="release", description="End a forced state, or wake what is held. Body: a Decision."
    )
    @lenient_signal
    def release(self, raw: RawValue = NO_BODY) -> None:
        now, before, forced = workflow.now(), self._machine.state, self._machine.forced
        decision = self._book.take(raw, now)
        if decision is None:
            return
        outcome, detail, by = release(self._machine, decision, now)
        self._book.record(decision, outcome, detail, now, by)
        self._moved(before)
        if outcome is Outcome.APPLIED and not forced:
            self._released()

    def _force(self, raw: RawValue, state: CircuitState) -> None:
        now, before = workflow.now(), self._machine.state
        decision = self._book.take(raw, now)
        if decision is not None:
            outcome, detail, by = force(self._machine, decision, state, now)
            self._book.record(decision, outcome, detail, now, by)
            self._moved(before)

    @workflow.query(name="get_circuit_status", description="The breaker as it is.")
    def circuit_status(self) -> CircuitStatus:
        return self._machine.status()

    @workflow.query(name="get_status", description="State and what happens next.")
    def status(self) -> Status:
        return Status(status=self._machine.state, updated_at=self._updated_at, summary=self._summary())

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._book.get(decision_id)

    def _summary(self) -> str:
        """One sentence on what happens next."""
        machine, forced = self._machine, self._machine.forced
        if forced:
            word = "admitted" if machine.state is CircuitState.CLOSED else "refused"
            until = f" until {forced.until:%Y-%m-%d %H:%M:%S} UTC" if forced.until else ""
            return f"All calls are {word}{until}, by order of {forced.by}: {forced.reason}"
        if machine.state is CircuitState.OPEN and machine.next_probe_at:
            return f"Calls are refused until a probe at {machine.next_probe_at:%H:%M:%S} UTC."
        if machine.state is CircuitState.HALF_OPEN and machine.holder:
            return f"{machine.holder} probes, and decides whether calls go through again."
        return CALM[machine.state]
