"""EventStore: what an aggregate has taken in, each event once. Pure: no clock, no Temporal.

It reads the body, knows repeats by their id, applies, keeps what awaits its effect, and hands all of that
over as an `EventLog`, which travels through continue-as-new.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.contracts import Outcome, Verdict
from workers.patterns.decisions import read
from workers.patterns.events.fold import Aggregate, Event, Recorded, Refused, S

REMEMBERED = 1_000  # ids of events, newest first to stay
LARGEST_BODY = 20_000  # characters of JSON
MOST_PENDING = 1_000_000  # characters of all bodies that await their effects: they travel in one payload
KEPT = 20  # refusals, failed effects and recent events that are shown
SNAPSHOT_EVERY = 100


class Note(BaseModel):
    """Something that went wrong with an event, for people."""

    event_id: str = ""
    type: str = ""
    detail: str = ""
    at: datetime | None = None


class Memory(BaseModel):
    """Which ids were there. Of the forgotten the latest time is kept: what is not newer may be a repeat."""

    seen: dict[str, datetime] = Field(default_factory=dict)
    forgotten_until: datetime | None = None

    def add(self, event_id: str, at: datetime) -> None:
        self.seen[event_id] = at
        while len(self.seen) > REMEMBERED:
            gone = self.seen.pop(next(iter(self.seen)))
            self.forgotten_until = max(gone, self.forgotten_until or gone)

    def may_have_forgotten(self, at: datetime) -> bool:
        return self.forgotten_until is not None and at <= self.forgotten_until


class EventLog(BaseModel):
    """All of a store as plain data, for continue-as-new. State = the snapshot with `tail` applied to it."""

    snapshot: dict[str, Any] | None = None
    snapshot_version: int = 0
    tail: list[Recorded] = Field(default_factory=list)
    pending: list[Recorded] = Field(default_factory=list)
    memory: Memory = Field(default_factory=Memory)
    refused: list[Note] = Field(default_factory=list)
    refusals: int = 0
    waiting_size: int = 0
    failed_effects: list[Note] = Field(default_factory=list)


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")


class EventStore(Generic[S]):
    """One aggregate's events. `log`: what an earlier run carried over."""

    def __init__(self, aggregate: Aggregate[S], log: EventLog | None = None) -> None:
        self._aggregate = aggregate
        self._log = log or EventLog()
        start = aggregate.state.model_validate(self._log.snapshot or {})
        self.state: S = aggregate.replay(start, self._log.tail)

    @property
    def version(self) -> int:
        return self._log.snapshot_version + len(self._log.tail)

    @property
    def pending(self) -> list[Recorded]:
        """Events whose effect is still to come, oldest first."""
        return self._log.pending

    def take(
        self,
        type: str,
        raw: object,
        now: datetime,
        *,
        objection: Callable[[datetime], str] = lambda at: "",
        effect: Callable[[Event], bool] = lambda event: False,
    ) -> Recorded | None:
        """Take in the body of a signal: the event as recorded, or None when it is a repeat or was refused.

        `objection`: a reason why nothing that happened at that time is taken. `effect`: whether it has one.
        """
        fields, known = _fields(raw)
        try:
            event = self._aggregate.read(type, fields)
            recorded = self._record(event, type, now)
            size = len(recorded.model_dump_json())
        except ValidationError as error:
            return self._refused(known, type, f"The body is not a {type}: {_sentence(error)}", now)
        except ValueError:  # it could be read, but not be carried on: bytes that are no text, for example
            return self._refused(known, type, "The body has no JSON form.", now)
        if event.event_id in self._log.memory.seen:
            return None
        problem = objection(recorded.at) or self._objection(recorded, size)
        if problem:
            return self._refused(known, type, problem, now)
        return self._append(recorded, size if effect(event) else 0, now)

    def settle(self, event: Recorded, error: str = "", now: datetime | None = None) -> None:
        """The effect of a pending event is done, or it failed for good with `error`."""
        if event not in self._log.pending:
            return
        self._log.pending.remove(event)
        self._log.waiting_size -= len(event.model_dump_json())
        if error:
            note = Note(event_id=event.event_id, type=event.type, detail=error[:500], at=now)
            self._log.failed_effects = [*self._log.failed_effects, note][-KEPT:]

    def snapshot(self) -> None:
        """Fold the events so far into the snapshot."""
        self._log.snapshot = self.state.model_dump(mode="json")
        self._log.snapshot_version, self._log.tail = self.version, []

    def log(self) -> EventLog:
        """What the next run needs, with a fresh snapshot."""
        self.snapshot()
        return self._log

    def verdict(self, event_id: str) -> Verdict:
        """What became of an event, in the form of the query `get_decision`."""
        log = self._log
        if event_id in log.memory.seen:
            waits = any(event.event_id == event_id for event in log.pending)
            failed = next((note for note in log.failed_effects if note.event_id == event_id), None)
            detail = "Recorded; its effect is under way." if waits else "Recorded."
            detail = f"Recorded; its effect failed: {failed.detail}" if failed else detail
            at = log.memory.seen[event_id]
            return Verdict(decision_id=event_id, outcome=Outcome.APPLIED, detail=detail, at=at)
        for note in reversed(log.refused):
            if event_id and note.event_id == event_id:
                return Verdict(decision_id=event_id, outcome=Outcome.REFUSED, detail=note.detail, at=note.at)
        return Verdict(decision_id=event_id, outcome=Outcome.UNKNOWN)

    def view(self) -> dict[str, Any]:
        """Plain JSON for the query `get_state`."""
        log = self._log
        return {
            "version": self.version,
            "state": self.state.model_dump(mode="json"),
            "pending": [event.event_id for event in log.pending[:KEPT]],
            "recent": [event.model_dump(mode="json") for event in log.tail[-KEPT:]],
            "refusals": log.refusals,
            "refused": [note.model_dump(mode="json") for note in log.refused],
            "failed_effects": [note.model_dump(mode="json") for note in log.failed_effects],
        }

    def _record(self, event: Event, type: str, now: datetime) -> Recorded:
        at = min(_aware(event.at or now), now)
        body = event.model_dump(mode="json", exclude={"at"}, exclude_none=True, by_alias=True)
        body["at"] = at.isoformat()
        return Recorded(version=self.version + 1, event_id=event.event_id, type=type, at=at, body=body)

    def _objection(self, event: Recorded, size: int) -> str:
        if size > LARGEST_BODY:
            return f"The body has more than {LARGEST_BODY:,} characters."
        if self._log.waiting_size > MOST_PENDING:
            return "Too many events await their effects; send it again later."
        if self._log.memory.may_have_forgotten(event.at):
            return "It is older than what is remembered, so it may be a repeat."
        return ""

    def _append(self, event: Recorded, waiting: int, now: datetime) -> Recorded | None:
        """`waiting`: its size when an effect follows, else 0."""
        try:
            self.state = self._aggregate.apply(self.state, event)
        except Refused as error:
            return self._refused(event.event_id, event.type, str(error), now)
        self._log.memory.add(event.event_id, event.at)
        self._log.tail.append(event)
        if waiting:
            self._log.pending.append(event)
            self._log.waiting_size += waiting
        if len(self._log.tail) >= SNAPSHOT_EVERY:
            self.snapshot()
        return event

    def _refused(self, event_id: str, type: str, detail: str, now: datetime) -> Recorded | None:
        note = Note(event_id=event_id, type=type, detail=detail[:500], at=now)
        self._log.refused = [*self._log.refused, note][-KEPT:]
        self._log.refusals += 1
        return None


def _fields(raw: object) -> tuple[dict[str, Any], str]:
    """What a body says, and the event id that it claims; nothing for one that cannot be read."""
    body = read(raw, _Body)
    fields = dict(body.model_extra or {}) if body else {}
    claimed = fields.get("event_id")
    return fields, claimed[:200] if isinstance(claimed, str) else ""


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _sentence(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5]]
    return "; ".join(problems) + "."
