"""What people do with a breaker, and its answers: shared by all workflows that keep a Machine.

The functions are pure: force it, release it, ask for a probe; each answers what became of the decision.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import CIRCUIT_STATE
    from workers.contracts import CircuitState, CircuitStatus, Decision, Outcome, Status
    from workers.patterns.breaker.machine import Machine
    from workers.patterns.breaker.messages import MachineInput
    from workers.patterns.decisions import NO_BODY, DecisionHandlers, DecisionResult, lenient_signal
    from workers.patterns.search_attributes import upsert_changed

FORCED_FOR = timedelta(hours=1)
FORCED_FOR_AT_MOST = timedelta(hours=24)
SENTENCES = {
    CircuitState.CLOSED: "Calls go through.",
    CircuitState.OPEN: "Calls are refused.",
    CircuitState.HALF_OPEN: "One probe decides whether calls go through again.",
}


def refuses_anonymous(decision: Decision) -> str:
    """Why a decision without actor or reason is refused, or ""."""
    if not decision.actor:
        return "Actions on a breaker need an actor."
    return "" if decision.reason.strip() else "Actions on a breaker need a reason."


def force(machine: Machine, decision: Decision, state: CircuitState, now: datetime) -> DecisionResult:
    """Hold it OPEN or CLOSED until `decision.until`: an hour when there is none, a day at most."""
    if problem := refuses_anonymous(decision):
        return Outcome.REFUSED, problem, ""
    until = decision.until or now + FORCED_FOR
    until = min(until if until.tzinfo else until.replace(tzinfo=UTC), now + FORCED_FOR_AT_MOST)
    if until <= now:
        return Outcome.REFUSED, f"That would have ended at {until:%Y-%m-%d %H:%M:%S} UTC already.", ""
    machine.force(state, decision.actor, decision.reason.strip(), until, now)
    word = "closed" if state is CircuitState.CLOSED else "open"
    return Outcome.APPLIED, f"Forced {word} until {until:%Y-%m-%d %H:%M:%S} UTC.", ""


def release(machine: Machine, decision: Decision, now: datetime) -> DecisionResult:
    """End a forced state early. With none, CLOSED agrees, as held workflows can be released again."""
    if problem := refuses_anonymous(decision):
        return Outcome.REFUSED, problem, ""
    if machine.forced:
        machine.unforce(now, f"Released by {decision.actor}: {decision.reason.strip()}"[:500])
        return Outcome.APPLIED, f"No longer forced; it is {machine.state} by its own view.", ""
    if machine.state is not CircuitState.CLOSED:
        detail = f"It is {machine.state}: released workflows would be refused. Ask for a probe."
        return Outcome.REFUSED, detail, ""
    return Outcome.APPLIED, "Held workflows are released, one first.", ""


def refuses_probe(machine: Machine, decision: Decision) -> str:
    """Why there can be no probe now, or ""."""
    if problem := refuses_anonymous(decision):
        return problem
    if machine.forced:
        return f"It is forced {machine.state} by {machine.forced.by}; release it first."
    if machine.state is CircuitState.CLOSED:
        return "It is CLOSED: calls go through, so there is nothing to probe."
    if machine.lease and machine.holder:
        return f"{machine.holder} probes already."
    return ""


def summary(machine: Machine) -> str:
    """One sentence on what happens next."""
    forced = machine.forced
    if forced:
        word = "admitted" if machine.state is CircuitState.CLOSED else "refused"
        until = f" until {forced.until:%Y-%m-%d %H:%M:%S} UTC" if forced.until else ""
        return f"All calls are {word}{until}, by order of {forced.by}: {forced.reason}"
    if machine.state is CircuitState.OPEN and machine.next_probe_at:
        return f"Calls are refused until a probe at {machine.next_probe_at:%H:%M:%S} UTC."
    if machine.state is CircuitState.HALF_OPEN and machine.holder:
        return f"{machine.holder} probes, and decides whether calls go through again."
    if machine.claimable:
        return "No held workflow was found to probe; the next call probes."
    return SENTENCES[machine.state]


class BreakerHandlers(DecisionHandlers):
    """The signals force_open, force_close and release, each applied once by its decision's id; the queries;
    and a log line for each opening and closing.

    more: for further base classes.
    """

    def __init__(self, start: MachineInput, **more: Any) -> None:
        super().__init__(decisions=start.decisions, **more)
        self._machine = start.machine or Machine(config=start.config())
        self._last_state, self._last_epoch = self._machine.state, self._machine.epoch
        self._held: int | None = None  # workflows held, as of the last look at the list
        self._amount = ""  # of those, in words

    def _moved(self) -> None:
        """Something happened, and the machine may be in another state or epoch than before."""
        before, self._last_state = self._last_state, self._machine.state
        self.updated_at = workflow.now()
        upsert_changed({CIRCUIT_STATE: self._machine.state.value})
        self._log_transition()
        if self._machine.state is not before:
            self._state_changed()

    def _state_changed(self) -> None:
        """The machine is in another state than before."""

    def _half_open(self, decision: Decision) -> None:
        """A person requested a probe: HALF_OPEN, if it is OPEN."""
        if self._machine.state is CircuitState.OPEN:
            why = f"{decision.actor} requested a probe: {decision.reason}"[:500]
            self._machine.half_open(workflow.now(), why)
            self._moved()

    def _release_held(self) -> None:
        """A person released what is held, and nothing was forced."""

    def _log_transition(self) -> None:
        """Once for each opening (also by a probe that failed) and closing."""
        machine = self._machine
        if machine.epoch == self._last_epoch:
            return
        self._last_epoch = machine.epoch
        if machine.state is CircuitState.HALF_OPEN:
            return
        dependency, opened = machine.config.dependency, machine.state is CircuitState.OPEN
        worth = f", worth {self._amount}" if self._amount else ""
        held = "" if self._held is None else f" Workflows held: {self._held}{worth}."
        workflow.logger.log(
            logging.WARNING if opened else logging.INFO,
            "The breaker of %s %s. %s%s",
            dependency,
            "opened" if opened else "closed",
            machine.transitions[-1].why,
            held,
            extra={"dependency": dependency, "state": machine.state.value, "held": self._held},
        )

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
        self.decide(raw, self._apply_release)
        self._moved()

    def _apply_release(self, decision: Decision) -> DecisionResult:
        was_forced = self._machine.forced is not None
        result = release(self._machine, decision, workflow.now())
        if result[0] is Outcome.APPLIED and not was_forced:
            self._release_held()
        return result

    def _force(self, raw: RawValue, state: CircuitState) -> None:
        self.decide(raw, lambda decision: force(self._machine, decision, state, workflow.now()))
        self._moved()

    @workflow.query(name="get_circuit_status", description="The breaker as it is.")
    def circuit_status(self) -> CircuitStatus:
        return self._machine.status()

    @workflow.query(name="get_status", description="State and what happens next.")
    def status(self) -> Status:
        return Status(status=self._machine.state, updated_at=self.updated_at, summary=summary(self._machine))
