"""The breaker card: is it passing calls, how near to its limit, and what changed it last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.states import look
from workers.contracts import CircuitStatus, Transition

SHOWN = 8
FAR_PAST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rate:
    """Failures of the window in percent, the limit they open at, and whether there are enough calls to
    judge."""

    percent: float
    limit: float
    calls: int
    minimum: int
    seconds: float

    @property
    def judged(self) -> bool:
        return self.calls >= self.minimum


def rate_of(status: CircuitStatus) -> Rate | None:
    """The failure rate of a breaker that judges by it."""
    if status.failure_rate <= 0:
        return None
    percent = 100 * status.failures / status.calls if status.calls > 0 else 0.0
    limit = 100 * status.failure_rate
    return Rate(percent, limit, status.calls, status.minimum_calls, status.window_seconds)


def gauge_top(status: CircuitStatus) -> float:
    """The end of the scale of failures: the limit stands at four fifths of it."""
    return max(status.failure_count, status.threshold * 1.25)


@dataclass(frozen=True, slots=True)
class Card:
    """A breaker with its state as tone, shape, word and sentence; the newest transitions first. A forced
    state is shown as such, as the breaker's own rule is off; `lamp` is the one that is lit all the same."""

    tone: str
    lamp: str
    shape: str
    word: str
    about: str
    status: CircuitStatus
    rate: Rate | None
    transitions: list[Transition]

    @property
    def gauge_top(self) -> float:
        return gauge_top(self.status)


def _when(change: Transition) -> datetime:
    at = change.at or FAR_PAST
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def draw(status: CircuitStatus) -> Card:
    """The card of a breaker."""
    shown = look(status.state, "breaker")
    tone, word, shape = shown.tone, shown.word, shown.shape
    newest = sorted(status.transitions, key=_when, reverse=True)[:SHOWN]
    if status.forced:
        tone, shape, word = "rest", "", f"Forced {word.lower()}"
    return Card(tone, shown.tone, shape, word, shown.sentence, status, rate_of(status), newest)
