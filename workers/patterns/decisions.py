"""Decisions exactly once: what a workflow did with each decision, kept under its id.

A signal may come without a body, with two, or with garbage. A typed handler loops on the first and loses the
last before it can be refused, so handlers have an optional raw value, which `DecisionLog.accept` parses.

An id belongs to the person and the signal that came with it first. Sent again by them it changes nothing;
from another person or by another signal it is refused: the verdict under the id names both, so the sender
sees that it is not theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from workers.contracts import Decision, Outcome, Verdict

W = TypeVar("W")
T = TypeVar("T", bound=BaseModel)

NO_BODY = RawValue(Payload())
"""The default of a signal handler's argument; its type must be exactly RawValue to arrive raw."""

DecisionResult = tuple[Outcome, str, str]
"""What to record: outcome, a sentence for people, and who decided when that was another."""

_signal: ContextVar[str] = ContextVar("signal", default="")
"""The name of the signal whose handler runs; these handlers are not interrupted."""

CAPACITY = 500
LONGEST_ID = 200
LONGEST_TEXT = 4_000
MOST_ROLES = 50


def lenient_signal(handler: Callable[[W, Any], None]) -> Callable[..., None]:
    """Make a handler that takes `raw: RawValue = NO_BODY` accept any number of arguments; it gets the first.

    Called with more arguments than it has, a handler raises TypeError, which fails the workflow task for
    ever. The wrapped signature is what the SDK reads, so that one body arrives as the raw value. The verdict
    on a decision keeps the name of the signal.
    """

    @functools.wraps(handler)
    def handle(self: W, *bodies: Any) -> None:
        definition = workflow._SignalDefinition.from_fn(handle)
        token = _signal.set((definition.name if definition else None) or handler.__name__)
        try:
            handler(self, bodies[0] if bodies else NO_BODY)
        finally:
            _signal.reset(token)

    return handle


def read(raw: object, model: type[T]) -> T | None:
    """The body of a signal as `model`; an absent one has all defaults. None: it cannot be read as one."""
    try:
        if raw is NO_BODY:
            return model()
        if isinstance(raw, RawValue):
            raw = workflow.payload_converter().from_payload(raw.payload)
        if raw is None:
            return model()
        return model.model_validate(raw) if isinstance(raw, Mapping) else None
    except (ValidationError, ValueError, RuntimeError, KeyError, TypeError):
        return None


class DecisionLog(BaseModel):
    """Every decision's verdict by its id. Carry it through continue-as-new.

    The oldest of more than 500 are forgotten; what they decided must not depend on this log alone.
    `chain`: the first run id of the workflow; a decision that names another is refused, as it was made
    on something else.
    """

    verdicts: dict[str, Verdict] = Field(default_factory=dict)
    unnamed: int = 0
    chain: str = ""

    def accept(self, raw: object, now: datetime) -> Decision | None:
        """A new, readable decision, with an id and an `at` that is not in the future.

        None: nothing to do, as it was refused (and that is recorded) or its id has its verdict already.
        """
        decision = read(raw, Decision)
        if decision is None:
            self.record(self._name(Decision(at=now)), Outcome.REFUSED, "The body is not a decision.", now)
            return None
        if decision.decision_id in self.verdicts:
            return None
        at = decision.at or now
        decision.at = min(at if at.tzinfo else at.replace(tzinfo=UTC), now)
        decision.actor = decision.actor.strip()
        decision.to = decision.to.strip()
        if problem := _oversized(decision) or self._wrong_chain(decision):
            short_id = decision.decision_id if len(decision.decision_id) <= LONGEST_ID else ""
            short = Decision(decision_id=short_id, actor=decision.actor[:LONGEST_ID])
            self.record(short if short_id else self._name(short), Outcome.REFUSED, problem, now)
            return None
        return decision if decision.decision_id else self._name(decision)

    def apply(self, raw: object, now: datetime, handler: Callable[[Decision], DecisionResult]) -> None:
        """Accept a signal's body and, when it is a new decision, record what `handler` makes of it."""
        decision = self.accept(raw, now)
        if decision is not None:
            outcome, detail, by = handler(decision)
            self.record(decision, outcome, detail, now, by)

    def record(
        self, decision: Decision, outcome: Outcome, detail: str, now: datetime, by: str = ""
    ) -> Verdict:
        """Keep the verdict. `by`: who decided, when that was another person; where it was decided already and
        `by` is empty, no person did. `now`: workflow time."""
        first = self.verdicts.get(decision.decision_id)  # a pending one is followed by the final one
        late = outcome is Outcome.ALREADY_DECIDED
        verdict = Verdict(
            decision_id=decision.decision_id,
            outcome=outcome,
            detail=detail,
            by=by if late else by or decision.actor,
            at=now,
            actor=decision.actor,
            signal=first.signal if first else _signal.get(),
        )
        self.verdicts[decision.decision_id] = verdict
        while len(self.verdicts) > CAPACITY:
            del self.verdicts[next(iter(self.verdicts))]
        return verdict

    def get(self, decision_id: str) -> Verdict:
        """The answer of the query `get_decision`; outcome unknown when it never arrived."""
        return self.verdicts.get(decision_id) or Verdict(decision_id=decision_id, outcome=Outcome.UNKNOWN)

    def _wrong_chain(self, decision: Decision) -> str:
        if decision.chain and self.chain and decision.chain != self.chain:
            return "The decision is about another run under this id."
        return ""

    def _name(self, decision: Decision) -> Decision:
        self.unnamed += 1
        return decision.model_copy(update={"decision_id": f"unnamed-{self.unnamed}"})


class DecisionHandlers:
    """Answers `get_decision`. `decide` is for the signals of a subclass.

    decisions: those of the run before this one in the chain.
    """

    def __init__(self, decisions: DecisionLog | None = None) -> None:
        self.decisions = decisions or DecisionLog(chain=workflow.info().first_execution_run_id)
        self.updated_at: datetime = workflow.now()

    def decide(self, raw: object, handler: Callable[[Decision], DecisionResult]) -> None:
        """Let `handler` decide on a signal's body once, and keep the verdict."""
        self.updated_at = workflow.now()
        self.decisions.apply(raw, workflow.now(), handler)

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def get_decision(self, decision_id: str) -> Verdict:
        return self.decisions.get(decision_id)


def _oversized(decision: Decision) -> str:
    if max(map(len, (decision.decision_id, decision.actor, decision.to))) > LONGEST_ID:
        return f"decision_id, actor and to may have {LONGEST_ID} characters at most."
    if len(decision.roles) > MOST_ROLES or any(len(role) > LONGEST_ID for role in decision.roles):
        return f"There may be {MOST_ROLES} roles at most, of {LONGEST_ID} characters each."
    if len(decision.reason) > LONGEST_TEXT or len(decision.evidence) > LONGEST_TEXT:
        return f"reason and evidence may have {LONGEST_TEXT} characters at most."
    return ""
