"""What people may do with a breaker: force it, release it, ask for a probe. Pure; each gets a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workers.contracts import CircuitState, Decision, Outcome
from workers.patterns.breaker.machine import Machine
from workers.patterns.decisions import DecisionResult

FORCED_FOR = timedelta(hours=1)
FORCED_FOR_AT_MOST = timedelta(hours=24)


def anonymous(decision: Decision) -> str:
    """Why an act has too little behind it, or ""."""
    if not decision.actor:
        return "Acts on a breaker need an actor."
    return "" if decision.reason.strip() else "Acts on a breaker need a reason."


def force(machine: Machine, decision: Decision, state: CircuitState, now: datetime) -> DecisionResult:
    """Hold it OPEN or CLOSED until `decision.until`: an hour when there is none, a day at most."""
    if problem := anonymous(decision):
        return Outcome.REFUSED, problem, ""
    until = decision.until or now + FORCED_FOR
    until = min(until if until.tzinfo else until.replace(tzinfo=UTC), now + FORCED_FOR_AT_MOST)
    if until <= now:
        return Outcome.REFUSED, f"That would have ended at {until:%Y-%m-%d %H:%M:%S} UTC already.", ""
    machine.force(state, decision.actor, decision.reason.strip(), until, now)
    word = "closed" if state is CircuitState.CLOSED else "open"
    return Outcome.APPLIED, f"Forced {word} until {until:%Y-%m-%d %H:%M:%S} UTC.", ""


def release(machine: Machine, decision: Decision, now: datetime) -> DecisionResult:
    """End a forced state early. With none, CLOSED agrees, as what is held can be let go again."""
    if problem := anonymous(decision):
        return Outcome.REFUSED, problem, ""
    if machine.forced:
        machine.unforce(now, f"Released by {decision.actor}: {decision.reason.strip()}"[:500])
        return Outcome.APPLIED, f"No longer forced; it is {machine.state} by its own view.", ""
    if machine.state is not CircuitState.CLOSED:
        return (
            Outcome.REFUSED,
            f"It is {machine.state}: whoever is let go now would be refused. Probe it.",
            "",
        )
    return Outcome.APPLIED, "What is held is let go, one first.", ""


def refuses_probe(machine: Machine, decision: Decision) -> str:
    """Why there can be no probe now, or ""."""
    if problem := anonymous(decision):
        return problem
    if machine.forced:
        return f"It is forced {machine.state} by {machine.forced.by}; release it first."
    if machine.state is CircuitState.CLOSED:
        return "It is CLOSED: calls go through, so there is nothing to probe."
    if machine.lease and machine.holder:
        return f"{machine.holder} probes already."
    return ""
