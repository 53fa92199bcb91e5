"""EventStore: what an aggregate has accepted, each event once, and what became of its effects. Pure.

It reads the body of an event, knows repeats, applies, and keeps what awaits its effect or an operator. All of
that is an `EventLog`, which travels through continue-as-new in one payload, so everything in it is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.contracts import Decision, Outcome, Verdict
from workers.patterns.decisions import DecisionResult, read
from workers.patterns.events.fold import MAX_ID_BYTES, Aggregate, Event, Recorded, Refused, S

REMEMBERED = 1_000  # event ids, those of the latest events
FORGOTTEN_AT_ONCE = 100  # so that they need not be sorted for each event
MAX_BODY = 20_000  # bytes of JSON
MAX_PENDING = 500_000  # bytes of all bodies that await their effects
MAX_REFUSALS = 200  # kept for their senders, who ask by the event's id
MAX_STUCK = 100  # effects that wait for an operator; then no further one is run
SHOWN = 20  # refusals, settled effects and recent events in `get_state`
SNAPSHOT_EVERY = 100
CLOCK_TOLERANCE = timedelta(minutes=5)  # how far a sender's clock may be ahead of the server's

BEST_EFFORT = "best_effort"
CHOICES = ("retry", "skip", "settled_outside")


class Refusal(BaseModel):
    """An event that was refused. `event_id` is "" when the body could not be read so far."""

    event_id: str = ""
    type: str = ""
    detail: str = ""
    at: datetime | None = None


class FailedEffect(BaseModel):
    """An effect whose tries are used up.

    choice: "" while it waits for an operator, then retry, skip or settled_outside; best_effort: its type may
        fail, so it does not wait for an operator.
    by, evidence: who chose, and what shows that it is right.
    times: how often its tries were used up.
    """

    event_id: str
    type: str = ""
    error: str = ""
    at: datetime | None = None
    choice: str = ""
    by: str = ""
    evidence: str = ""
    times: int = 1


class Memory(BaseModel):
    """The ids of the latest events, with their times as sent. Of those that were forgotten the latest time is
    kept: an event that is not later may be a repeat."""

    seen: dict[str, datetime] = Field(default_factory=dict)
    forgotten_until: datetime | None = None

    def add(self, event_id: str, at: datetime) -> None:
        self.seen[event_id] = at
        if len(self.seen) >= REMEMBERED + FORGOTTEN_AT_ONCE:
            by_time = sorted(self.seen, key=self.seen.__getitem__)
            gone = [self.seen.pop(name) for name in by_time[:FORGOTTEN_AT_ONCE]]
            self.forgotten_until = max(gone[-1], self.forgotten_until or gone[-1])

    def may_have_forgotten(self, at: datetime) -> bool:
        return self.forgotten_until is not None and at <= self.forgotten_until


class EventLog(BaseModel):
    """All of a store as plain data, for continue-as-new. State = the snapshot with `tail` applied to it.

    failed_effects: all that wait for an operator, and the latest of the others.
    """

    snapshot: dict[str, Any] | None = None
    snapshot_version: int = 0
    tail: list[Recorded] = Field(default_factory=list)
    pending: list[Recorded] = Field(default_factory=list)
    pending_bytes: int = 0
    memory: Memory = Field(default_factory=Memory)
    refused: list[Refusal] = Field(default_factory=list)
    refusals: int = 0
    failed_effects: list[FailedEffect] = Field(default_factory=list)


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
        """Events whose effect is still to come, oldest first; also those that wait for an operator."""
        return self._log.pending

    @property
    def full(self) -> bool:
        """No further event that has an effect is accepted."""
        return self._log.pending_bytes > MAX_PENDING

    def given_up(self) -> list[FailedEffect]:
        """The latest effects that will not happen: skipped by an operator, or best effort."""
        return [failed for failed in self._log.failed_effects if failed.choice in ("skip", BEST_EFFORT)]

    def waiting_for_operator(self) -> list[FailedEffect]:
        """Failed effects that an operator must decide on, oldest first."""
        return [failed for failed in self._log.failed_effects if not failed.choice]

    def runnable(self) -> Iterator[Recorded]:
        """Pending events whose effect may run now, oldest first: those that do not wait for an operator, nor
        for an earlier effect with the same ordering key. None when a hundred wait for an operator: so many
        failures have a cause that the next one would meet too."""
        stuck = {failed.event_id for failed in self.waiting_for_operator()}
        if len(stuck) >= MAX_STUCK:
            return
        taken: set[str] = set()
        for event in self._log.pending:
            if event.event_id not in stuck and event.ordering_key not in taken:
                yield event
            if event.ordering_key:
                taken.add(event.ordering_key)

    def accept(
        self,
        type: str,
        raw: object,
        now: datetime,
        *,
        objection: Callable[[datetime], str] = lambda at: "",
        effect: Callable[[Recorded], bool] = lambda event: False,
    ) -> Recorded | None:
        """Record the body of a signal and apply it: the event, or None for a repeat and a refused one.

        objection: a reason why no event that happened at that time is accepted, or "".
        effect: whether an effect follows the event.
        """
        fields, known = _fields(raw)
        try:
            event = self._aggregate.read(type, fields)
            recorded = self._record(event, type, now)
            size = _size(recorded)
        except ValidationError as error:
            return self._refuse(known, type, f"The body is not a {type}: {_sentence(error)}", now)
        except ValueError:  # it could be read, but not be carried on: bytes that are no text, for example
            return self._refuse(known, type, "The body has no JSON form.", now)
        if event.event_id in self._log.memory.seen:
            return None
        follows = effect(recorded)
        problem = objection(recorded.at) or self._objection(event, size, follows, now)
        if problem:
            return self._refuse(known, type, problem, now)
        return self._append(event, recorded, size if follows else 0, now)

    def effect_done(self, event_id: str) -> None:
        """The effect of a pending event is done."""
        index = next((i for i, event in enumerate(self._log.pending) if event.event_id == event_id), None)
        if index is not None:
            self._log.pending_bytes -= _size(self._log.pending.pop(index))

    def effect_failed(
        self, event: Recorded, error: str, now: datetime, *, best_effort: bool = False
    ) -> FailedEffect:
        """The tries of a pending event's effect are used up: it waits for an operator, or, best effort, it is
        given up."""
        before = self._failed(event.event_id)
        failed = FailedEffect(
            event_id=event.event_id,
            type=event.type,
            error=error[:500],
            at=now,
            choice=BEST_EFFORT if best_effort else "",
            times=before.times + 1 if before else 1,
        )
        self._keep([*(each for each in self._log.failed_effects if each is not before), failed])
        if best_effort:
            self.effect_done(event.event_id)
        return failed

    def resolve(self, decision: Decision) -> DecisionResult:
        """An operator's decision on the failed effect of the event `step`; "" is the oldest that waits."""
        waiting = self.waiting_for_operator()
        known = self._failed(decision.step) if decision.step else next(iter(waiting), None)
        if known is None:
            return Outcome.REFUSED, "No effect of that event waits for an operator.", ""
        what = f"The effect of {known.event_id}"
        if known.choice:
            return Outcome.ALREADY_DECIDED, f"{what}: {_choice_text(known.choice)} already.", known.by
        if decision.choice not in CHOICES:
            return Outcome.REFUSED, f"The choice must be one of {', '.join(CHOICES)}.", ""
        if decision.input is not None:
            return Outcome.REFUSED, "An event cannot be changed; send another one that corrects it.", ""
        if decision.choice != "retry" and not decision.evidence.strip():
            return Outcome.REFUSED, f"To choose {decision.choice}, say what shows that it is right.", ""
        known.choice, known.by, known.evidence = decision.choice, decision.actor, decision.evidence[:500]
        if decision.choice != "retry":
            self.effect_done(known.event_id)
        self._keep(self._log.failed_effects)
        return Outcome.APPLIED, f"{what}: {_choice_text(decision.choice)}.", ""

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
            return Verdict(
                decision_id=event_id,
                outcome=Outcome.APPLIED,
                detail=f"Recorded{self._effect_of(event_id)}.",
                at=log.memory.seen[event_id],
            )
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
            "pending": [event.event_id for event in log.pending[:SHOWN]],
            "recent": [event.model_dump(mode="json") for event in log.tail[-SHOWN:]],
            "refusals": log.refusals,
            "refused": [note.model_dump(mode="json") for note in log.refused[-SHOWN:]],
            "failed_effects": [failed.model_dump(mode="json") for failed in log.failed_effects[-SHOWN:]],
        }

    def _record(self, event: Event, type: str, now: datetime) -> Recorded:
        at = min(event.at, now)
        body = event.model_dump(mode="json", exclude={"at"}, exclude_none=True, by_alias=True)
        body["at"] = at.isoformat()
        return Recorded(
            version=self.version + 1,
            event_id=event.event_id,
            type=type,
            at=at,
            body=body,
            ordering_key=self._aggregate.ordering_key(type, event),
        )

    def _objection(self, event: Event, size: int, follows: bool, now: datetime) -> str:
        if size > MAX_BODY:
            return f"The body has more than {MAX_BODY:,} bytes."
        if event.at - now > CLOCK_TOLERANCE:
            return "Its time is in the future."
        if follows and self.full:
            return "Too many events await their effects; send it again later."
        if self._log.memory.may_have_forgotten(event.at):
            return "It is older than the events whose ids are remembered, so it may be a repeat."
        return ""

    def _append(self, event: Event, recorded: Recorded, pending: int, now: datetime) -> Recorded | None:
        """`pending`: its size when an effect follows, else 0."""
        try:
            self.state = self._aggregate.apply(self.state, recorded)
        except Refused as error:
            return self._refuse(recorded.event_id, recorded.type, str(error), now)
        self._log.memory.add(event.event_id, event.at)
        self._log.tail.append(recorded)
        if pending:
            self._log.pending.append(recorded)
            self._log.pending_bytes += pending
        if len(self._log.tail) >= SNAPSHOT_EVERY:
            self.snapshot()
        return recorded

    def _refuse(self, event_id: str, type: str, detail: str, now: datetime) -> Recorded | None:
        note = Refusal(event_id=event_id, type=type, detail=detail[:500], at=now)
        self._log.refused = [*self._log.refused, note][-MAX_REFUSALS:]
        self._log.refusals += 1
        return None

    def _failed(self, event_id: str) -> FailedEffect | None:
        return next((each for each in self._log.failed_effects if each.event_id == event_id), None)

    def _keep(self, failed: list[FailedEffect]) -> None:
        decided = [each for each in failed if each.choice]
        dropped = {each.event_id for each in decided[:-SHOWN]}
        self._log.failed_effects = [each for each in failed if each.event_id not in dropped]

    def _effect_of(self, event_id: str) -> str:
        failed = self._failed(event_id)
        if failed is not None and not failed.choice:
            return f"; its effect failed and waits for an operator: {failed.error}"
        if any(event.event_id == event_id for event in self._log.pending):
            return "; its effect is under way"
        if failed is not None and failed.choice != "retry":
            by = f" by {failed.by}" if failed.by else ""
            return f"; its effect failed, {_choice_text(failed.choice)}{by}: {failed.error}"
        return ""


def _choice_text(choice: str) -> str:
    return {"retry": "tried again", "skip": "skipped", "settled_outside": "settled outside"}.get(
        choice, "not tried again"
    )


def _size(event: Recorded) -> int:
    """Bytes of its JSON. Raises ValueError when it has none."""
    return len(event.model_dump_json().encode())


def _fields(raw: object) -> tuple[dict[str, Any], str]:
    """What a body says, and the event id that it claims; nothing for one that cannot be read."""
    body = read(raw, _Body)
    fields = dict(body.model_extra or {}) if body else {}
    claimed = fields.get("event_id")
    short = isinstance(claimed, str) and len(claimed.encode(errors="replace")) <= MAX_ID_BYTES
    return fields, claimed if isinstance(claimed, str) and short else ""


def _sentence(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5]]
    return "; ".join(problems) + "."
