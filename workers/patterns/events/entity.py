"""Entity: a workflow that lives as long as what it stands for, with its state built from events.

A workflow class derives from it, names its aggregate, and has one signal for each event type; see
docs/patterns/events.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey

from workers.client.attributes import STAGE
from workers.contracts import Decision, Outcome, Status, Verdict, WaitingFor
from workers.history import history_exceeds, should_continue_as_new
from workers.patterns.alerts.calls import Alerts
from workers.patterns.decisions import NO_BODY, DecisionResult, lenient_signal
from workers.patterns.dynamic.switches import activities_of_run
from workers.patterns.events.effects import EffectRunner
from workers.patterns.events.fold import Aggregate, Recorded
from workers.patterns.events.messages import Carried, EntityInput
from workers.patterns.events.store import EventStore, FailedEffect
from workers.patterns.handlers import HoldHandlers

CLOSED, BY_EVENT, INACTIVITY, CANCELLED = "closed", "completed by event", "inactivity", "cancelled"
SHORTEST = timedelta(milliseconds=10)  # a timer even when it is over: events on their way are handled first
# A run ends beside a running effect only here: far above `most_events`, far below the server's own limits
# of 10,000 signals, 51,200 events and 50 MB.
HARD_EVENTS = 9_000
HARD_BYTES = 20_000_000


class Entity(HoldHandlers):
    """Base of event workflows. Signal handlers only record and apply; effects run in `run_until_closed`.

    open_stage, end_stage: values of the search attribute Stage while it is open, and at the end; in between
    it is `closing`, and `cancelled` at the end of one that was cancelled.
    """

    aggregate: ClassVar[Aggregate[Any]]
    open_stage: ClassVar[str] = "open"
    end_stage: ClassVar[str] = "closed"

    @workflow.init
    def __init__(self, start: EntityInput) -> None:
        self._start = start
        self._carried = start.carried or Carried()
        super().__init__(timedelta(seconds=start.retry_seconds), self._carried.decisions)
        self._store: EventStore[Any] = EventStore(self.aggregate, self._carried.log)
        self._effects = EffectRunner(
            self._store, start, self.calls, effect_type=self.effect_type, finished=self._effect_finished
        )
        self._alerts = Alerts()
        self._full_alerted = False
        self._over = False
        self._set_deadline(self._carried.deadline)

    def effect_type(self, event: Recorded) -> str:
        """The key of an event in `effects`, `best_effort` and `completed_by`. For subclasses."""
        return event.type

    def close_objection(self) -> str:
        """Why it cannot be closed now, as a sentence; "" when it can. For subclasses."""
        return ""

    async def run_until_closed(self) -> dict[str, Any]:
        """The body of the run method. Returns the last state as plain JSON.

        A native cancellation closes it too: effects of recorded events are done, or settled by an operator,
        before the run ends as cancelled. Raises CancelledError then, and ActivityError for an effect whose
        activity is not registered.
        """
        self.show()
        deadline = asyncio.create_task(self._close_when_inactive())
        await self._prepare_effects()
        while not self._finished:
            if self._must_renew():
                await self._renew()
            if event := self._next_effect():
                self._effects.start(event)
            await self._wait(lambda: self._next_effect() is not None or self._finished or self._must_renew())
        await self._wait(workflow.all_handlers_finished)
        deadline.cancel()
        self._over = True
        self.show()
        if self._carried.reason == CANCELLED and workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        state: dict[str, Any] = self._store.state.model_dump(mode="json")
        return state

    def on_event(self, type: str, raw: object) -> None:
        """The body of an event's signal handler."""
        now = workflow.now()
        event = self._store.accept(
            type,
            raw,
            now,
            objection=self._objection,
            effect=lambda event: self.effect_type(event) in self._start.effects,
        )
        if event is None:
            self._alert_when_full()
            return
        self.updated_at = now
        self._set_deadline()
        if self.effect_type(event) in self._start.completed_by:
            self._close(BY_EVENT)

    def close(self, raw: object, reason: str = CLOSED) -> None:
        """The body of a signal that closes it by a Decision; effects of recorded events are done first."""

        def decide(decision: Decision) -> DecisionResult:
            if self._carried.reason:
                by = f" by {self._carried.by}" if self._carried.by else ""
                detail = f"It was closed{by}: {self._carried.reason}."
                return Outcome.ALREADY_DECIDED, detail, self._carried.by
            if objection := self.close_objection():
                return Outcome.REFUSED, objection, ""
            self._close(reason, decision.actor)
            return Outcome.APPLIED, f"It is {reason}. {self._outlook()}", ""

        self.decide(raw, decide)

    @workflow.signal(name="resolve", description="Settle a failed effect. Body: a Decision; step: event id.")
    @lenient_signal
    def resolve(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._store.resolve)
        self.show()

    @workflow.query(name="get_state", description="State, version, recent events, what awaits its effect.")
    def state(self) -> dict[str, Any]:
        deadline = self._carried.deadline
        return {**self._store.view(), "deadline": deadline.isoformat() if deadline else None}

    @workflow.query(name="get_status", description="Open, closing, or why it ended, and what happens next.")
    def status(self) -> Status:
        stage = self._stage()
        return Status(
            status=(self._carried.reason or stage) if self._over else stage,
            stage=stage,
            updated_at=self.updated_at,
            waiting_for=self.waiting_for(),
            summary=self._outlook(),
        )

    @workflow.query(name="get_decision", description="What became of an event or a decision, by its id.")
    def get_decision(self, decision_id: str) -> Verdict:
        known = self.decisions.get(decision_id)
        return known if known.outcome != Outcome.UNKNOWN else self._store.verdict(decision_id)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for it. A native cancellation closes the entity, and the wait goes on."""
        while True:
            try:
                return await workflow.wait_condition(condition)
            except asyncio.CancelledError:
                if workflow.cancellation_reason() is None:  # the worker drops the workflow from its cache
                    raise
                self._close(CANCELLED)

    async def _prepare_effects(self) -> None:
        """Resolve the activities of effects, unless it is closed before one is needed."""
        not_before = self._carried.effects_not_before
        if not_before and not_before > workflow.now():
            left = not_before - workflow.now()
            pause = asyncio.create_task(workflow.sleep(left, summary="effect of the last run"))
            await self._wait(pause.done)
        if self._carried.targets is None:
            resolving = asyncio.create_task(activities_of_run(*self._start.effects.values()))
            await self._wait(lambda: resolving.done() or self._finished)
            if not resolving.done():
                return
            self._carried.targets = resolving.result()
        self._effects.targets = self._carried.targets

    async def _close_when_inactive(self) -> None:
        """One timer for many events: when it fires it is set again for the time that is left."""
        while (deadline := self._carried.deadline) and not self._carried.reason:
            await workflow.sleep(max(SHORTEST, deadline - workflow.now()), summary="inactivity")
            if self._carried.deadline == deadline:
                self._close(INACTIVITY)

    async def _renew(self) -> None:
        await self._wait(workflow.all_handlers_finished)
        not_before = workflow.now() + timedelta(seconds=self._start.effect_seconds)
        update = {
            "log": self._store.log(),
            "decisions": self.decisions,
            "effects_not_before": not_before if self._effects.calling else None,
        }
        carried = self._carried.model_copy(update=update)
        workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    @property
    def _finished(self) -> bool:
        return bool(self._carried.reason) and not self._store.pending

    def _next_effect(self) -> Recorded | None:
        event = self._effects.next()
        return None if self._full() else event

    def _full(self) -> bool:
        """No further effect is started in this run. One that was cancelled natively goes on while there is
        room, as the next run of the chain could not end as cancelled."""
        if workflow.cancellation_reason() is not None:
            return history_exceeds(HARD_EVENTS, HARD_BYTES)
        return should_continue_as_new(self._start.most_events)

    def _must_renew(self) -> bool:
        """The history is full, and no effect or alert is running, or there is no room to wait for it."""
        busy = self._effects.calling or self._alerts.delivering
        return history_exceeds(HARD_EVENTS, HARD_BYTES) if busy else self._full()

    def _set_deadline(self, carried: datetime | None = None) -> None:
        if self._start.inactivity_seconds:
            after = timedelta(seconds=self._start.inactivity_seconds)
            self._carried.deadline = carried or workflow.now() + after

    def _objection(self, at: datetime) -> str:
        deadline = self._carried.deadline
        if self._carried.reason:
            return f"It is closed: {self._carried.reason}."
        if deadline and at > deadline:
            return f"It ended for inactivity at {deadline:%Y-%m-%d %H:%M:%S} UTC."
        return ""

    def _close(self, reason: str, by: str = "") -> None:
        if not self._carried.reason:
            self._carried.reason, self._carried.by, self.updated_at = reason, by, workflow.now()
            if self._store.pending:
                self.show()

    def _effect_finished(self, event: Recorded, error: str) -> None:
        if error:
            best_effort = self.effect_type(event) in self._start.best_effort
            failed = self._store.effect_failed(event, error, workflow.now(), best_effort=best_effort)
            if not best_effort:
                self._call_operator(failed)
        else:
            self._store.effect_done(event.event_id)
            self._carried.effects_done += 1
        self.show()

    def _alert_when_full(self) -> None:
        """Once, until there is room again: senders of signals do not hear that their events are refused."""
        if self._store.full and not self._full_alerted:
            what = "Too many events await their effects, so further ones are refused."
            self._alert(f"full/{self._store.version}", "Events are refused", what)
        self._full_alerted = self._store.full

    def _call_operator(self, failed: FailedEffect) -> None:
        what = f"effect/{failed.event_id}/{failed.times}"
        title = f"The effect of {failed.type} {failed.event_id} failed"
        self._alert(what, title, failed.error, failed.event_id)

    def _alert(self, what: str, title: str, detail: str, step: str = "") -> None:
        chain = workflow.info().first_execution_run_id
        self._alerts.raise_soon(f"{chain}/{what}", title, detail=detail, step=step)

    def _stage(self) -> str:
        if not self._carried.reason:
            return self.open_stage
        if not self._over:
            return "closing"
        return "cancelled" if self._carried.reason == CANCELLED else self.end_stage

    def waiting_for(self) -> list[str]:
        """See base class."""
        operator = [WaitingFor.OPERATOR.value] if self._store.waiting_for_operator() else []
        return [*operator, *super().waiting_for()]

    def attributes(self) -> dict[SearchAttributeKey[Any], Any]:
        """See base class."""
        return {STAGE: self._stage()}

    def _outlook(self) -> str:
        """What happens next, in a sentence or two."""
        stuck, count = self._store.waiting_for_operator(), len(self._store.pending)
        held, deadline = self.calls.held, self._carried.deadline
        parts = [f"Effects to be done: {count}."] if count else []
        if stuck:
            parts.append(f"Waiting for an operator: {len(stuck)}; {stuck[0].event_id}: {stuck[0].error}")
        if held:
            parts.append(f"Held until {', '.join(held)} works again.")
        if self._carried.reason:
            parts.append("It ends when they are done." if count else "Nothing more happens.")
        elif deadline:
            parts.append(f"Ends at {deadline:%Y-%m-%d %H:%M:%S} UTC unless an event comes.")
        return " ".join(parts) or "Waits for events."
