"""Base classes for workflows that people decide on or that breakers hold: their signals, queries and
attributes.

A workflow inherits the one that fits and calls its `__init__`; then everything that a pattern needs is
there. What a class leaves out is found when it is registered (`handler_problems`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey

from workers.client.attributes import WAITING_FOR
from workers.contracts import Decision, Verdict
from workers.patterns.decisions import NO_BODY, DecisionLog, DecisionResult, lenient_signal
from workers.patterns.guarded_calls import GuardedCalls
from workers.patterns.search_attributes import upsert_changed


class DecisionHandlers:
    """Answers `get_decision`. `decide` is for the signals of a subclass.

    decisions: those of the run before this one in the chain.
    """

    def __init__(self, decisions: DecisionLog | None = None) -> None:
        self.decisions = decisions or DecisionLog(chain=workflow.info().first_execution_run_id)
        self.updated_at: datetime = workflow.now()

    def decide(self, raw: object, act: Callable[[Decision], DecisionResult]) -> None:
        """Let `act` judge a signal's body once, and keep the verdict."""
        self.updated_at = workflow.now()
        self.decisions.judge(raw, workflow.now(), act)

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def get_decision(self, decision_id: str) -> Verdict:
        return self.decisions.get(decision_id)


class HoldHandlers(DecisionHandlers):
    """Takes `resume`, and keeps WaitingFor up to date. `calls` makes guarded calls.

    held_retry: until a held call is made again without a `resume`. decisions: as for DecisionHandlers.
    """

    def __init__(self, held_retry: timedelta, decisions: DecisionLog | None = None) -> None:
        super().__init__(decisions)
        self.calls = GuardedCalls(held_retry.total_seconds(), self.show)

    @workflow.signal(name="resume", description="A breaker closed or lends its probe. Body: a Resume.")
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.calls.resume(raw)

    def waiting_for(self) -> list[str]:
        """What a person or a breaker must do next: values of WaitingFor."""
        return self.calls.waiting_for()

    def attributes(self) -> dict[SearchAttributeKey[Any], Any]:
        """Further search attributes of a subclass, with their values now; None removes."""
        return {}

    def show(self) -> None:
        """Upsert the search attributes that have changed."""
        self.updated_at = workflow.now()
        upsert_changed({WAITING_FOR: self.waiting_for() or None, **self.attributes()})
