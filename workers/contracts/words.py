"""The words of the contracts: names of queries and signals, and the values of states."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

VERSION = "1"

CIRCUIT_OPEN = "CircuitOpen"
"""The type of the failure by which a breaker refuses a call."""

# ISO 4217: currencies that have not two decimals.
DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


class Query(StrEnum):
    """Names of the queries that the console knows how to draw."""

    SAGA = "get_saga_status"
    CIRCUIT = "get_circuit_status"
    APPROVAL = "get_approval_status"
    DECISION = "get_decision"
    PROGRESS = "get_progress"
    STATUS = "get_status"
    STATE = "get_state"


class Signal(StrEnum):
    """Names of the signals that the console and the breakers send."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    DELEGATE = "delegate"
    RESOLVE = "resolve_compensation"
    RESOLVE_EFFECT = "resolve"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    RESUME = "resume"
    FORCE_OPEN = "force_open"
    FORCE_CLOSE = "force_close"
    RELEASE = "release"
    PROBE = "probe"


class SagaState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    STUCK = "stuck"


class StepState(StrEnum):
    """Of a step or of a compensation. `unknown`: it may have happened (timed out, cancelled in flight)."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    STUCK = "stuck"
    SKIPPED = "skipped"
    SETTLED = "settled_outside"


class CircuitState(StrEnum):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class ApprovalState(StrEnum):
    NOT_NEEDED = "not_needed"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Outcome(StrEnum):
    """What became of a decision."""

    APPLIED = "applied"
    REFUSED = "refused"
    ALREADY_DECIDED = "already_decided"
    PENDING = "pending"
    UNKNOWN = "unknown"


class WaitingFor(StrEnum):
    """Values of the WaitingFor search attribute, a list: what a run waits for, one or several at a time.

    A run held at breakers has `breaker`, and `breaker:<dependency>` for each, as lists cannot be searched by
    prefix.
    """

    APPROVAL = "approval"
    OPERATOR = "operator"
    BREAKER = "breaker"

    @staticmethod
    def at_breaker(dependency: str) -> str:
        """The value of a run held at the breaker of `dependency`: `breaker:<dependency>`."""
        return f"{WaitingFor.BREAKER.value}:{dependency}"

    @staticmethod
    def at_breakers(dependencies: Iterable[str]) -> list[str]:
        """All values of a run held at these breakers; none for none."""
        values = [WaitingFor.at_breaker(dependency) for dependency in dependencies]
        return [WaitingFor.BREAKER.value, *values] if values else []

    @staticmethod
    def dependencies(values: Iterable[str]) -> list[str]:
        """The dependencies at whose breakers a run with these values is held."""
        prefix = WaitingFor.at_breaker("")
        return [value.removeprefix(prefix) for value in values if value.startswith(prefix)]
