"""Handing a decision to the right run of a chain, and what a closed workflow still says about it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client

from dashboard.actions import wire
from dashboard.actions.perform import Performance
from dashboard.conf import conf
from dashboard.errors import Closed
from workers.client.connection import has_pollers
from workers.client.errors import NoAnswer, QueryFailed, RunNotFound, TemporalUnavailable
from workers.contracts import ApprovalStatus, Decision, Outcome, Query, Signal, Verdict, Vote


@dataclass(slots=True)
class Letter:
    client: Client
    shown: wire.Run
    signal: Signal
    decision: Decision
    queue: str
    native: bool = False

    async def post(self, run: wire.Run, performance: Performance) -> bool:
        """Hand it to a run; False when that run is closed."""
        try:
            if self.native:
                await wire.request_cancel(self.client, run, self.decision)
                performance.verdict = _pending(self.decision)
            else:
                await wire.signal(self.client, run, self.signal, self.decision)
        except RunNotFound:
            return False
        return True


async def deliver(letter: Letter, performance: Performance) -> wire.Run:
    """Send to the shown run, else once to the run of the same chain that is open now; return the run that got
    it."""
    if await letter.post(letter.shown, performance):
        return letter.shown
    last = await wire.last_of_chain(letter.client, letter.shown)
    if last.open and await letter.post(last.run, performance):
        return last.run
    if last.open:  # it closed between the two calls
        last = await wire.last_of_chain(letter.client, letter.shown)
    stored = await _stored(letter, last.run)
    if stored is None:
        raise Closed(last.word, await _decided(letter, last.run))
    performance.verdict = stored
    return last.run


def _pending(decision: Decision) -> Verdict:
    detail = "Cancellation is requested; the workflow decides how it ends."
    return Verdict(
        decision_id=decision.decision_id, outcome=Outcome.PENDING, detail=detail, by=decision.actor
    )


async def _ask(letter: Letter, run: wire.Run, name: Query, *arguments: str) -> Any:
    """What a closed workflow answers; None when nobody can ask it."""
    try:
        if not await has_pollers(letter.client, letter.queue):
            return None
        return await wire.query(letter.client, run, name, conf().verdict_seconds, *arguments)
    except (NoAnswer, QueryFailed, TemporalUnavailable):
        return None


async def _stored(letter: Letter, run: wire.Run) -> Verdict | None:
    """What a closed workflow did with this very decision, if it had got it before."""
    with suppress(ValidationError):
        verdict = Verdict.model_validate(await _ask(letter, run, Query.DECISION, letter.decision.decision_id))
        return None if verdict.outcome in (Outcome.UNKNOWN, Outcome.PENDING) else verdict
    return None


async def _decided(letter: Letter, run: wire.Run) -> Verdict | None:
    """Who decided before it closed, for somebody whose decision came too late."""
    if letter.signal not in (Signal.APPROVE, Signal.REJECT):
        return None
    with suppress(ValidationError):
        status = ApprovalStatus.model_validate(await _ask(letter, run, Query.APPROVAL))
        vote = status.votes[-1] if status.votes else Vote()
        detail = f"It was {status.state} before."
        return Verdict(outcome=Outcome.ALREADY_DECIDED, detail=detail, by=vote.actor, at=vote.at)
    return None
