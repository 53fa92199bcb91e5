"""Pause, unpause and cancel of a long process: decisions exactly once. Pure: no clock, no Temporal."""

from __future__ import annotations

from datetime import datetime

from workers.contracts import Decision, Outcome, Signal
from workers.patterns.decisions import DecisionLog, DecisionResult


class Desk:
    """Who paused and who cancelled; "" is somebody unnamed, None nobody."""

    def __init__(self, book: DecisionLog, paused_by: str | None, cancelled_by: str | None) -> None:
        self.book, self.paused_by, self.cancelled_by = book, paused_by, cancelled_by
        self.over = False

    @property
    def paused(self) -> bool:
        return self.paused_by is not None

    @property
    def cancelled(self) -> bool:
        return self.cancelled_by is not None

    def hear(self, verb: Signal, raw: object, now: datetime) -> None:
        """A signal's body: pause, unpause or cancel."""
        decision = self.book.take(raw, now)
        if decision is not None:
            outcome, detail, by = self._judge(verb, decision)
            self.book.record(decision, outcome, detail, now, by)

    def _judge(self, verb: Signal, decision: Decision) -> DecisionResult:
        if self.over:
            return Outcome.REFUSED, "It is over.", ""
        if self.cancelled_by is not None:
            return Outcome.ALREADY_DECIDED, f"Cancelled already{_by(self.cancelled_by)}.", self.cancelled_by
        if verb is Signal.CANCEL:
            self.cancelled_by, self.paused_by = decision.actor, None
            return Outcome.APPLIED, "It stops after the batch that is under way.", ""
        if verb is Signal.UNPAUSE:
            was, self.paused_by = self.paused_by, None
            if was is None:
                return Outcome.REFUSED, "It is not paused.", ""
            return Outcome.APPLIED, "It goes on.", ""
        if self.paused_by is not None:
            return Outcome.ALREADY_DECIDED, f"Paused already{_by(self.paused_by)}.", self.paused_by
        self.paused_by = decision.actor
        return Outcome.APPLIED, "It pauses after the batch that is under way.", ""


def _by(actor: str) -> str:
    return f" by {actor}" if actor else ""
