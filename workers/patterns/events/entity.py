"""Entity: a workflow that lives as long as what it stands for, with its state built from events.

A workflow class derives from it, names its aggregate, and has one signal for each event type; see
docs/patterns/events.md.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, Field
from temporalio import workflow

from workers.client.attributes import STAGE
from workers.contracts import Outcome, Status, Verdict
from workers.patterns.decisions import DecisionLog
from workers.patterns.dynamic.resolve import Resolved
from workers.patterns.events.effects import perform, resolve
from workers.patterns.events.fold import Aggregate
from workers.patterns.events.store import EventLog, EventStore
from workers.patterns.search_attributes import upsert_changed

MOST_EVENTS = 4_000  # of history; Temporal suggests continue-as-new at about the same length


class EntityInput(BaseModel):
    """The argument of an entity. `effects`: event type -> name of the activity that follows it.

    `effect_seconds`: one try; `effect_attempts` 0: tried until it works. The rest is what continue-as-new
    carries on.
    """

    effects: dict[str, str] = Field(default_factory=dict)
    effect_seconds: float = Field(60, gt=0)
    effect_attempts: int = Field(0, ge=0)
    most_events: int = Field(MOST_EVENTS, ge=10)
    log: EventLog | None = None
    book: DecisionLog | None = None
    targets: dict[str, Resolved] | None = None
    closed_by: str | None = None


class Entity:
    """Base of event-sourced workflows. Signals only record and apply; effects run one by one in `live`."""

    aggregate: ClassVar[Aggregate[Any]]

    @workflow.init
    def __init__(self, start: EntityInput) -> None:
        self._start = start
        self._store: EventStore[Any] = EventStore(self.aggregate, start.log)
        self._book = start.book or DecisionLog()
        self._targets = start.targets
        self._closed_by = start.closed_by
        self._updated_at = workflow.now()

    async def live(self) -> dict[str, Any]:
        """The body of the run method: effects until it is closed. Returns the last state as plain JSON."""
        upsert_changed({STAGE: "open"})
        if self._targets is None:
            self._targets = await resolve(self._start.effects.values())
        while self._store.pending or self._closed_by is None:
            await workflow.wait_condition(
                lambda: bool(self._store.pending) or self._closed_by is not None or self._full()
            )
            if self._full():
                await self._renew()
            if self._store.pending:
                await self._follow(self._targets)
        await workflow.wait_condition(workflow.all_handlers_finished)
        upsert_changed({STAGE: "closed"})
        state: dict[str, Any] = self._store.state.model_dump(mode="json")
        return state

    def hear(self, type: str, raw: object) -> None:
        """The body of an event's signal handler."""
        taken = self._store.take(
            type,
            raw,
            workflow.now(),
            objection=lambda at: "It is closed." if self._closed_by is not None else "",
            effect=lambda event: type in self._start.effects,
        )
        if taken:
            self._updated_at = workflow.now()

    def close(self, raw: object) -> None:
        """The body of the signal that ends the entity, with a Decision; effects under way are finished."""
        now = workflow.now()
        decision = self._book.take(raw, now)
        if decision is None:
            return
        if self._closed_by is not None:
            detail = f"Closed already by {self._closed_by or 'somebody'}."
            self._book.record(decision, Outcome.ALREADY_DECIDED, detail, now, self._closed_by)
        elif objection := self.keeps_open():
            self._book.record(decision, Outcome.REFUSED, objection, now)
        else:
            self._closed_by, self._updated_at = decision.actor, now
            self._book.record(decision, Outcome.APPLIED, "Closed.", now)

    def keeps_open(self) -> str:
        """Why it cannot be closed now, as a sentence; "" when it can. For subclasses."""
        return ""

    async def _follow(self, targets: dict[str, Resolved]) -> None:
        event = self._store.pending[0]
        error = await perform(
            event,
            targets[self._start.effects[event.type]],
            seconds=self._start.effect_seconds,
            attempts=self._start.effect_attempts,
            stop=self._full,
        )
        if error is not None:
            self._store.settle(event, error, workflow.now())

    async def _renew(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        carried = {
            "log": self._store.log(),
            "book": self._book,
            "targets": self._targets,
            "closed_by": self._closed_by,
        }
        workflow.continue_as_new(self._start.model_copy(update=carried))

    def _full(self) -> bool:
        info = workflow.info()
        length = info.get_current_history_length()
        return info.is_continue_as_new_suggested() or length > self._start.most_events

    @workflow.query(name="get_state", description="State, version, recent events, what awaits its effect.")
    def state(self) -> dict[str, Any]:
        return self._store.view()

    @workflow.query(name="get_status", description="Open or closed, and what happens next.")
    def status(self) -> Status:
        waiting = len(self._store.pending)
        stage = "open" if self._closed_by is None else "closing" if waiting else "closed"
        effects = f"{waiting} effects under way." if waiting else ""
        summary = effects or ("Waits for events." if stage == "open" else "Nothing more happens.")
        return Status(status=stage, stage=stage, updated_at=self._updated_at, summary=summary)

    @workflow.query(name="get_decision", description="What became of an event or a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        known = self._book.get(decision_id)
        return known if known.outcome != Outcome.UNKNOWN else self._store.verdict(decision_id)
