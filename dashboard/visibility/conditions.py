"""Conditions: what state a run is in, in the words of the people who watch it.

Temporal's status says only Running or Completed. For types with a registered line, search attributes say
more. Each condition is one query clause, and the same rule on a row; they exclude each other. All other
types, and servers without our attributes, show Temporal's own status.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard import extend
from workers.client.visibility import Unusable, any_of, both, quote
from workers.contracts import SagaState, WaitingFor

NEEDS = ("SagaState", "WaitingFor", "Stage")


@dataclass(frozen=True, slots=True)
class Condition:
    """`s` names colour and shape, `word` is what people read."""

    name: str
    s: str
    word: str
    clause: str


def _status(name: str) -> str:
    return f"ExecutionStatus = {quote(name)}"


def _is(attribute: str, value: str) -> str:
    return f"{attribute} = {quote(value)}"


def _not_in(attribute: str, *values: str) -> str:
    """Unset counts as not in: the server's NOT IN would skip it."""
    return f"({attribute} IS NULL OR {attribute} NOT IN {any_of(list(values))})"


RUNNING, DONE = _status("Running"), _status("Completed")
STEADY = _not_in("SagaState", SagaState.COMPENSATING, SagaState.STUCK)
AT_BREAKER = _is("WaitingFor", WaitingFor.BREAKER)
FOR_PERSON = f"WaitingFor IS NOT NULL AND WaitingFor != {quote(WaitingFor.BREAKER)}"
ENDED_OTHERWISE = ("rejected", "cancelled")
PLAIN_END = _not_in("Stage", *ENDED_OTHERWISE)

CONDITIONS: dict[str, Condition] = {
    item.name: item
    for item in (
        Condition("moving", "run", "Running", f"{RUNNING} AND {STEADY} AND WaitingFor IS NULL"),
        Condition("waiting", "wait", "Waiting", f"{RUNNING} AND {STEADY} AND {FOR_PERSON}"),
        Condition("held", "stop", "Held", f"{RUNNING} AND {STEADY} AND {AT_BREAKER}"),
        Condition("stuck", "stop", "Stuck", f"{RUNNING} AND {_is('SagaState', SagaState.STUCK)}"),
        Condition(
            "compensating",
            "undo",
            "Compensating",
            f"{RUNNING} AND {_is('SagaState', SagaState.COMPENSATING)}",
        ),
        Condition(
            "completed",
            "done",
            "Completed",
            f"{DONE} AND {PLAIN_END} AND {_not_in('SagaState', SagaState.COMPENSATED)}",
        ),
        Condition(
            "compensated",
            "rest",
            "Compensated",
            f"{DONE} AND {PLAIN_END} AND {_is('SagaState', SagaState.COMPENSATED)}",
        ),
        Condition("rejected", "rest", "Rejected", f"{DONE} AND {_is('Stage', 'rejected')}"),
        Condition(
            "cancelled",
            "rest",
            "Cancelled",
            f"({_status('Canceled')} OR ({DONE} AND {_is('Stage', 'cancelled')}))",
        ),
        Condition("failed", "stop", "Failed", _status("Failed")),
        Condition("terminated", "stop", "Terminated", _status("Terminated")),
        Condition("timed_out", "stop", "Timed out", _status("TimedOut")),
    )
}
OPEN = ("moving", "waiting", "held", "stuck", "compensating")
# Temporal's statuses by number: name in queries, colour, word.
STATUSES: dict[int, tuple[str, str, str]] = {
    1: ("Running", "run", "Running"),
    2: ("Completed", "done", "Completed"),
    3: ("Failed", "stop", "Failed"),
    4: ("Canceled", "rest", "Cancelled"),
    5: ("Terminated", "stop", "Terminated"),
    6: ("ContinuedAsNew", "rest", "Continued"),
    7: ("TimedOut", "stop", "Timed out"),
}


def missing(available: Collection[str] | None) -> list[str]:
    """Attributes that conditions need and the server does not have; `available` None means that it has
    all."""
    return [] if available is None else [name for name in NEEDS if name not in available]


def clause(name: str, available: Collection[str] | None = None) -> str:
    """The query clause of a condition. Raises Unusable where there is none here."""
    if name not in CONDITIONS:
        raise Unusable(f"There is no condition “{name}”; there are {', '.join(CONDITIONS)}.")
    if not extend.lines():
        raise Unusable("No app has registered a line, so there are no conditions here.")
    if absent := missing(available):
        raise Unusable(
            f"Conditions need the search attributes {', '.join(absent)}, which this server has not."
        )
    return both(f"WorkflowType IN {any_of(list(extend.lines()))}", CONDITIONS[name].clause)


def _open(saga: Any, waiting: Any) -> str:
    if saga in (SagaState.STUCK, SagaState.COMPENSATING):
        return str(saga)
    if not waiting:
        return "moving"
    return "held" if WaitingFor.BREAKER in waiting else "waiting"


def _completed(saga: Any, stage: Any) -> str:
    if stage in ENDED_OTHERWISE:
        return str(stage)
    return "compensated" if saga == SagaState.COMPENSATED else "completed"


def derive(workflow_type: str, status: int, attributes: Mapping[str, Any]) -> str | None:
    """The condition of a run from its own values: the same rule as the clauses. None where Temporal's
    status is all that can be said: types without a line, runs that were continued, statuses of newer
    servers."""
    if workflow_type not in extend.lines():
        return None
    saga, waiting = attributes.get("SagaState"), attributes.get("WaitingFor")
    match status:
        case 1:
            return _open(saga, waiting)
        case 2:
            return _completed(saga, attributes.get("Stage"))
        case _:
            return {3: "failed", 4: "cancelled", 5: "terminated", 7: "timed_out"}.get(status)


def status_name(status: int) -> str:
    """Temporal's name of a status; those that this console does not know by number: `Status 8`."""
    return STATUSES[status][0] if status in STATUSES else f"Status {status}"


def shown(condition: str | None, status: int) -> tuple[str, str]:
    """Colour and word of a run."""
    if condition:
        return CONDITIONS[condition].s, CONDITIONS[condition].word
    return STATUSES[status][1:] if status in STATUSES else ("rest", f"Status {status}")
