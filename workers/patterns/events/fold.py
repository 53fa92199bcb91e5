"""Events: an aggregate's state as a fold over its events. Pure: no clock, no Temporal.

An `Aggregate` names the events and how each changes the state; store.py keeps which events came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

S = TypeVar("S", bound=BaseModel)
E = TypeVar("E", bound="Event")

MAX_ID_BYTES = 200  # of UTF-8; a thousand ids travel in one payload


class Refused(Exception):
    """An applier says no: the event contradicts the state. The message is a sentence for the sender."""


def _short(event_id: str) -> str:
    if len(event_id.encode(errors="replace")) > MAX_ID_BYTES:
        raise ValueError(f"event_id may have {MAX_ID_BYTES} bytes")
    return event_id


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class Event(BaseModel):
    """Base of event bodies. Both fields are the sender's, and the same in every repeat.

    event_id: which event it is, up to 200 bytes.
    at: when it happened (RFC 3339; UTC if it names no zone). Of events whose ids are forgotten it tells a
        repeat from a new event.
    """

    model_config = ConfigDict(frozen=True)

    event_id: Annotated[str, Field(min_length=1), AfterValidator(_short)]
    at: Annotated[datetime, AfterValidator(_aware)]


class Recorded(BaseModel):
    """An event as it was recorded. `version`: the aggregate's after it. `body`: plain JSON.

    ordering_key: effects of events with the same one are run in order; "" is in order with none.
    """

    version: int
    event_id: str
    type: str
    at: datetime
    body: dict[str, Any] = Field(default_factory=dict)
    ordering_key: str = ""


@dataclass(frozen=True)
class _Rule(Generic[S]):
    model: type[Event]
    apply: Callable[[S, Any], S]
    ordered_by: str


class Aggregate(Generic[S]):
    """A state model with defaults, and for each event type its model and its applier.

    An applier takes state and event and returns the next state; it changes neither, reads nothing else, and
    raises Refused when the event cannot be. It runs again in every replay.
    """

    def __init__(self, state: type[S]) -> None:
        self.state = state
        self._rules: dict[str, _Rule[S]] = {}

    def on(
        self, type: str, model: type[E], *, ordered_by: str = ""
    ) -> Callable[[Callable[[S, E], S]], Callable[[S, E], S]]:
        """Register the applier of an event type.

        ordered_by: the field of the model whose value orders effects: among events with the same value, of
            whatever type, each effect waits for those before it. By default effects wait for no other.
        Raises ValueError for a second applier, or a field that the model does not have.
        """
        if type in self._rules:
            raise ValueError(f"Event {type} has an applier already.")
        if ordered_by and ordered_by not in model.model_fields:
            raise ValueError(f"{model.__name__} has no field {ordered_by} to order effects by.")

        def register(apply: Callable[[S, E], S]) -> Callable[[S, E], S]:
            self._rules[type] = _Rule(model, apply, ordered_by)
            return apply

        return register

    def read(self, type: str, body: Mapping[str, Any]) -> Event:
        """The body as its event. Raises ValidationError; KeyError for an unknown type."""
        return self._rules[type].model.model_validate(body)

    def ordering_key(self, type: str, event: Event) -> str:
        """The value by which effects of this event are ordered; "": by none."""
        field = self._rules[type].ordered_by
        return str(getattr(event, field)) if field else ""

    def apply(self, state: S, event: Recorded) -> S:
        """The state after the event. Raises Refused."""
        return self._rules[event.type].apply(state, self.read(event.type, event.body))

    def replay(self, state: S, events: Iterable[Recorded]) -> S:
        """The state after these events, which were accepted before, in this order."""
        for event in events:
            state = self.apply(state, event)
        return state
