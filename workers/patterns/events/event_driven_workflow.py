"""EventDrivenWorkflow: lives on events, acts on each, and ends by one of them or when none comes any more."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import STAGE
    from workers.contracts import Outcome, Status, Verdict
    from workers.patterns.decisions import NO_BODY, DecisionLog, lenient_signal
    from workers.patterns.dynamic.resolve import Resolved
    from workers.patterns.events.effects import perform, resolve
    from workers.patterns.events.fold import Aggregate, Event, Recorded
    from workers.patterns.events.store import EventLog, EventStore
    from workers.patterns.search_attributes import upsert_changed

EVENT = "workflow_event"
SHORTEST = timedelta(milliseconds=10)  # a timer even when it is over: events on their way are heard first
BY_EVENT, INACTIVITY, CANCELLED = "completed by event", "inactivity", "cancelled"


class WorkflowEvent(Event):
    """The body of `workflow_event`: which kind of event, and whatever it brings."""

    type: str = Field(min_length=1, max_length=100)
    payload: dict[str, Any] = Field(default_factory=dict)


class Heard(BaseModel):
    """How many events came, and which kind was the last."""

    model_config = ConfigDict(frozen=True)

    events: int = 0
    last_type: str = ""
    last_at: datetime | None = None


JOURNAL = Aggregate(Heard)


@JOURNAL.on(EVENT, WorkflowEvent)
def hear(heard: Heard, event: WorkflowEvent) -> Heard:
    return Heard(events=heard.events + 1, last_type=event.type, last_at=event.at)


class Progressed(BaseModel):
    """What continue-as-new carries on."""

    log: EventLog
    book: DecisionLog
    targets: dict[str, Resolved] | None = None
    deadline: datetime
    reason: str = ""
    by: str = ""
    followed: int = 0


class EventDrivenInput(BaseModel):
    """`actions`: event type -> name of the activity that follows. `completed_by`: types that end it.

    `inactivity_seconds`: it ends when no event comes for so long. `action_seconds`: one try of an action;
    `action_attempts` 0: tried until it works.
    """

    actions: dict[str, str] = Field(default_factory=dict)
    completed_by: list[str] = Field(default_factory=lambda: ["completed"])
    inactivity_seconds: float = Field(86_400, gt=0)
    action_seconds: float = Field(60, gt=0)
    action_attempts: int = Field(5, ge=0)
    most_events: int = Field(4_000, ge=10)
    carried: Progressed | None = None


class EventDrivenResult(BaseModel):
    """`reason`: completed by event, inactivity or cancelled. `followed`: actions that were done."""

    reason: str
    events: int
    last_type: str = ""
    followed: int = 0
    failed: list[str] = Field(default_factory=list)


@workflow.defn(name="EventDrivenWorkflow")
class EventDrivenWorkflow:
    """Handlers only record. The main loop acts on events one by one and watches the time."""

    @workflow.init
    def __init__(self, start: EventDrivenInput) -> None:
        self._start = start
        quiet = timedelta(seconds=start.inactivity_seconds)
        fresh = Progressed(log=EventLog(), book=DecisionLog(), deadline=workflow.now() + quiet)
        self._carried = start.carried or fresh
        self._store = EventStore(JOURNAL, self._carried.log)
        self._quiet = quiet
        self._updated_at = workflow.now()

    @workflow.run
    async def run(self, start: EventDrivenInput) -> EventDrivenResult:
        try:
            return await self._live()
        except asyncio.CancelledError:
            self._carried.reason = CANCELLED
            raise

    async def _live(self) -> EventDrivenResult:
        upsert_changed({STAGE: "listening"})
        if self._carried.targets is None:
            self._carried.targets = await resolve(self._start.actions.values())
        while self._store.pending or not self._carried.reason:
            if self._full():
                await self._renew()
            if self._store.pending:
                await self._follow(self._carried.targets)
            else:
                await self._listen()
        await workflow.wait_condition(workflow.all_handlers_finished)
        upsert_changed({STAGE: "cancelled" if self._carried.reason == CANCELLED else "completed"})
        heard, failed = self._store.state, self._store.view()["failed_effects"]
        return EventDrivenResult(
            reason=self._carried.reason,
            events=heard.events,
            last_type=heard.last_type,
            followed=self._carried.followed,
            failed=[f"{note['event_id']}: {note['detail']}" for note in failed],
        )

    async def _listen(self) -> None:
        """Wait for something to do, until the deadline. Events that come with its timer are handled first."""
        deadline, carried = self._carried.deadline, self._carried
        left = max(SHORTEST, deadline - workflow.now())
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    bool(carried.reason or self._store.pending or self._full())
                    or carried.deadline != deadline
                ),
                timeout=left,
                timeout_summary="inactivity",
            )
        if not carried.reason and carried.deadline <= workflow.now():
            carried.reason = INACTIVITY

    async def _follow(self, targets: dict[str, Resolved]) -> None:
        event = self._store.pending[0]
        kind = event.body["type"]
        error = await perform(
            event,
            targets[self._start.actions[kind]],
            seconds=self._start.action_seconds,
            attempts=self._start.action_attempts,
            stop=self._full,
            type=kind,
        )
        if error is not None:
            self._carried.followed += not error
            self._store.settle(event, error, workflow.now())

    async def _renew(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        carried = self._carried.model_copy(update={"log": self._store.log()})
        workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    def _full(self) -> bool:
        info = workflow.info()
        length = info.get_current_history_length()
        return info.is_continue_as_new_suggested() or length > self._start.most_events

    def _objection(self, at: datetime) -> str:
        if self._carried.reason:
            return f"It is over: {self._carried.reason}."
        if at > self._carried.deadline:
            return f"It ended for inactivity at {self._carried.deadline:%Y-%m-%d %H:%M:%S} UTC."
        return ""

    def _took(self, event: Recorded) -> None:
        now = workflow.now()
        self._updated_at, self._carried.deadline = now, now + self._quiet
        if event.body["type"] in self._start.completed_by:
            self._carried.reason = BY_EVENT

    @workflow.signal(name=EVENT, description="Something happened. Body: event_id, type, payload, at.")
    @lenient_signal
    def workflow_event(self, raw: RawValue = NO_BODY) -> None:
        event = self._store.take(
            EVENT,
            raw,
            workflow.now(),
            objection=self._objection,
            effect=lambda event: isinstance(event, WorkflowEvent) and event.type in self._start.actions,
        )
        if event:
            self._took(event)

    @workflow.signal(name="cancel", description="End it; what came so far is followed up. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        now, carried = workflow.now(), self._carried
        decision = carried.book.take(raw, now)
        if decision is None:
            return
        if carried.reason:
            detail = f"It is over: {carried.reason}."
            carried.book.record(decision, Outcome.ALREADY_DECIDED, detail, now, carried.by)
            return
        carried.reason, carried.by, self._updated_at = CANCELLED, decision.actor, now
        carried.book.record(decision, Outcome.APPLIED, "It ends when its actions are done.", now)

    @workflow.query(name="get_status", description="Listening, or why it ended.")
    def status(self) -> Status:
        reason, waiting = self._carried.reason, len(self._store.pending)
        until = f"Ends at {self._carried.deadline:%Y-%m-%d %H:%M:%S} UTC unless an event comes."
        summary = f"{waiting} actions to do." if waiting else "" if reason else until
        return Status(
            status=reason or "listening",
            stage=self._store.state.last_type,
            updated_at=self._updated_at,
            summary=summary,
        )

    @workflow.query(name="get_state", description="Events so far, what awaits its action, what was refused.")
    def state(self) -> dict[str, Any]:
        return {**self._store.view(), "deadline": self._carried.deadline.isoformat()}

    @workflow.query(name="get_decision", description="What became of an event or a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        known = self._carried.book.get(decision_id)
        return known if known.outcome != Outcome.UNKNOWN else self._store.verdict(decision_id)
