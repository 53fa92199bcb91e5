"""Events: an aggregate's state as a fold over its events. Pure: no clock, no Temporal.

An `Aggregate` names the events and how each changes the state; `events_store` keeps what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

S = TypeVar("S", bound=BaseModel)
E = TypeVar("E", bound="Event")


class Refused(Exception):
    """An applier says no: the event contradicts the state. The message is a sentence for the sender."""


class Event(BaseModel):
    """Base of event bodies. `event_id`: the sender's, the same in every repeat. `at`: when it happened."""

    model_config = ConfigDict(frozen=True)

    event_id: str = Field(min_length=1, max_length=200)
    at: datetime | None = None


class Recorded(BaseModel):
    """An event as it was taken in. `version`: the aggregate's after it. `body`: plain JSON."""

    version: int
    event_id: str
    type: str
    at: datetime
    body: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Rule(Generic[S]):
    model: type[Event]
    apply: Callable[[S, Any], S]


class Aggregate(Generic[S]):
    """A state model with defaults, and for each event type its model and its applier.

    An applier takes state and event and returns the next state; it changes neither, reads nothing else, and
    raises Refused when the event cannot be. It runs again in every replay.
    """

    def __init__(self, state: type[S]) -> None:
        self.state = state
        self._rules: dict[str, _Rule[S]] = {}

    def on(self, type: str, model: type[E]) -> Callable[[Callable[[S, E], S]], Callable[[S, E], S]]:
        """Register the applier of an event type."""

        if type in self._rules:
            raise ValueError(f"Event {type} has an applier already.")

        def register(apply: Callable[[S, E], S]) -> Callable[[S, E], S]:
            self._rules[type] = _Rule(model, apply)
            return apply

        return register

    def read(self, type: str, body: Mapping[str, Any]) -> Event:
        """The body as its event. Raises ValidationError; KeyError for an unknown type."""
        return self._rules[type].model.model_validate(body)

    def apply(self, state: S, event: Recorded) -> S:
        """The state after the event. Raises Refused."""
        return self._rules[event.type].apply(state, self.read(event.type, event.body))

    def replay(self, state: S, events: Iterable[Recorded]) -> S:
        for event in events:
            state = self.apply(state, event)
        return state
