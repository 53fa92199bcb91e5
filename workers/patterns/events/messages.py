"""What event workflows take, exchange with the activities of effects, return, and carry on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workers.patterns.decisions import DecisionLog
from workers.patterns.dynamic.messages import Resolved
from workers.patterns.events.fold import Aggregate, Event
from workers.patterns.events.store import EventLog

MAX_EVENTS = 4_000  # of history; Temporal suggests continue-as-new at about the same length
DAY = 86_400


class Effect(BaseModel):
    """The argument of an effect's activity.

    idempotency_key: `<workflow id>/<event id>`, the same in every try and in every run of the chain; what the
        activity does must be done once for it.
    """

    idempotency_key: str
    workflow_id: str
    event_id: str
    type: str
    payload: dict[str, Any] = Field(default_factory=dict)


class Carried(BaseModel):
    """What continue-as-new carries on.

    deadline: the end, unless an event comes; None without `inactivity_seconds`.
    reason: why it closes; "" while it is open. by: the actor whose decision closed it.
    effects_not_before: the last run ended beside a running effect; its last try is over by then.
    """

    log: EventLog = Field(default_factory=EventLog)
    decisions: DecisionLog | None = None
    targets: dict[str, Resolved] | None = None
    deadline: datetime | None = None
    reason: str = ""
    by: str = ""
    effects_done: int = 0
    effects_not_before: datetime | None = None


class EntityInput(BaseModel):
    """The argument of an entity.

    effects: event type -> name of the activity that follows it.
    effect_seconds: one try of an effect. effect_attempts: tries until it waits for an operator.
    best_effort: event types whose effect is given up after its tries, without an operator.
    retry_seconds: the first wait at an open breaker; each further one is longer.
    completed_by: event types that close it. inactivity_seconds: it closes when no event comes for so long.
    most_events: length of history at which it continues as new, if Temporal does not suggest it before.
    carried: what continue-as-new carries on.
    """

    effects: dict[str, str] = Field(default_factory=dict)
    effect_seconds: float = Field(60, gt=0)
    effect_attempts: int = Field(20, ge=1)
    best_effort: list[str] = Field(default_factory=list)
    retry_seconds: float = Field(30, gt=0)
    completed_by: list[str] = Field(default_factory=list)
    inactivity_seconds: float | None = Field(None, gt=0)
    most_events: int = Field(MAX_EVENTS, ge=10)
    carried: Carried | None = None


class EventDrivenInput(EntityInput):
    """The argument of EventDrivenWorkflow: it ends by an event `completed`, or after a day without any."""

    completed_by: list[str] = Field(default_factory=lambda: ["completed"])
    inactivity_seconds: float | None = Field(DAY, gt=0)


class EventDrivenResult(BaseModel):
    """reason: completed by event, inactivity or cancelled. followed: effects that were done. failed: the
    latest effects that were not, with their errors."""

    reason: str
    events: int
    last_type: str = ""
    followed: int = 0
    failed: list[str] = Field(default_factory=list)


WORKFLOW_EVENT = "workflow_event"


class WorkflowEvent(Event):
    """The body of the signal `workflow_event`.

    type: which kind of event. payload: whatever it brings. ordering_key: effects of events with the same one
        are run in order.
    """

    type: str = Field(min_length=1, max_length=100)
    payload: dict[str, Any] = Field(default_factory=dict)
    ordering_key: str = Field("", max_length=200)


class Received(BaseModel):
    """How many events came, and which kind was the last."""

    model_config = ConfigDict(frozen=True)

    events: int = 0
    last_type: str = ""
    last_at: datetime | None = None


RECEIVED = Aggregate(Received)


@RECEIVED.on(WORKFLOW_EVENT, WorkflowEvent, ordered_by="ordering_key")
def count_event(received: Received, event: WorkflowEvent) -> Received:
    return Received(events=received.events + 1, last_type=event.type, last_at=event.at)
