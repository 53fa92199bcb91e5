"""A circuit breaker as a card, on the page of a run and on the page of all breakers: does it pass calls, how
near is it to its limit, what changed it last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.extend import Panel, register
from dashboard.states import STATES, Look, look
from dashboard.temporal_api.answers import BREAKER
from workers.contracts import CircuitState, CircuitStatus, Query, Transition

SHOWN = 6  # transitions
FAR_PAST = datetime.min.replace(tzinfo=UTC)
TEMPLATE = "dashboard/panels/circuit.html"
NO_ANSWER = Look("rest", "No answer", "The breaker has not answered with its state.")


@dataclass(frozen=True, slots=True)
class Rate:
    """Failures of the window in percent, the limit they open at, and whether there are enough calls for it
    to apply."""

    percent: float
    limit: float
    calls: int
    minimum: int
    seconds: float

    @property
    def applies(self) -> bool:
        return self.calls >= self.minimum


def rate_of(status: CircuitStatus) -> Rate | None:
    """The failure rate of a breaker that opens by it."""
    if status.failure_rate <= 0:
        return None
    percent = 100 * status.failures / status.calls if status.calls > 0 else 0.0
    limit = 100 * status.failure_rate
    return Rate(percent, limit, status.calls, status.minimum_calls, status.window_seconds)


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker with its state as tone, shape, word and sentence; the newest transitions first, each with the
    word of its state. A forced state is shown as such, as the breaker's own rule is off; `lamp` is the one
    that is lit all the same."""

    tone: str
    lamp: str
    shape: str
    word: str
    about: str
    status: CircuitStatus
    rate: Rate | None
    transitions: list[tuple[str, Transition]]

    @property
    def open(self) -> bool:
        return self.status.state == CircuitState.OPEN

    @property
    def probes_at(self) -> datetime | None:
        """When the next probe goes out; None while nothing waits for one."""
        return self.status.next_probe_at if self.open else None

    @property
    def gauge_top(self) -> float:
        """The end of the scale of failures: the limit stands at four fifths of it."""
        return max(self.status.failure_count, self.status.threshold * 1.25)


def _when(change: Transition) -> datetime:
    at = change.at or FAR_PAST
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def draw(status: CircuitStatus) -> BreakerView:
    """The card of a breaker."""
    shown = STATES["breaker"].get(status.state) or NO_ANSWER
    tone, word, shape = shown.tone, shown.word, shown.shape
    if status.forced:
        tone, word, shape = "rest", f"Forced {word.lower()}", ""
    newest = sorted(status.transitions, key=_when, reverse=True)[:SHOWN]
    transitions = [(look(change.state, "breaker").word, change) for change in newest]
    return BreakerView(tone, shown.tone, shape, word, shown.sentence, status, rate_of(status), transitions)


register(
    Panel(
        query=Query.CIRCUIT,
        title="Breaker",
        template=TEMPLATE,
        model=CircuitStatus,
        draw=lambda run, status: draw(status),
        order=30,
    ),
    Panel(
        query=BREAKER,
        title="Breaker",
        template=TEMPLATE,
        model=CircuitStatus,
        draw=lambda run, status: draw(status),
        place="side",
        source="from the breaker",
    ),
)
