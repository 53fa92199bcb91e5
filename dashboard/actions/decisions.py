"""Approve, reject, cancel, resolve: a signal that the workflow gets exactly once, and the verdict it answers.

Signals are durable where updates are not: sent with no worker running, they are kept. The console sends, then
reads `get_decision` back. An act is meant for the chain of runs that was shown: after continue-as-new it
follows to the run that is open now, and never to a later workflow that took the same id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionDescription

from dashboard.access import Subject, Verb, Viewer, authorise, may
from dashboard.actions import wire
from dashboard.actions.perform import Act, Performance, perform
from dashboard.conf import conf
from workers.attributes import TENANT_ID
from workers.connection import get_client, has_pollers
from workers.contracts import ApprovalStatus, Decision, Outcome, Query, Signal, Verdict, Vote
from workers.errors import NoAnswer, QueryFailed, RunNotFound, TemporalAway

MAX_REASON = 2000  # characters
MAX_ID = 100
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.2  # seconds between two looks for the verdict
CHOICES = ("retry", "skip", "settled_outside")


@dataclass(frozen=True, slots=True)
class Kind:
    """What there is to know about one kind of act."""

    verb: Verb
    done: str
    needs_reason: bool


KINDS: dict[Signal, Kind] = {
    Signal.APPROVE: Kind(Verb.APPROVE, "Approved", False),
    Signal.REJECT: Kind(Verb.REJECT, "Rejected", True),
    Signal.CANCEL: Kind(Verb.CANCEL, "Cancelled", True),
    Signal.RESOLVE: Kind(Verb.RESOLVE, "Resolved", True),
}


class Invalid(Exception):
    """422: fields that need another look; `errors` maps a field to a sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


class Closed(Exception):
    """409: the workflow had ended; `state` is how, as a word, `verdict` what it says about this decision, if
    known."""

    def __init__(self, state: str, verdict: Verdict | None = None) -> None:
        self.state, self.verdict = state, verdict
        self.message = f"The workflow is closed already: {state}. Nothing was changed."
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Sent:
    """A decision on its way: what `await_verdict` needs to read the answer and to close the audit."""

    performance: Performance
    client: Client
    run: wire.Run
    queue: str
    record: AsyncExitStack


def validate(signal: Signal, decision: Decision) -> None:
    """Raises Invalid for what a person has to correct."""
    errors: dict[str, str] = {}
    if KINDS[signal].needs_reason and not decision.reason:
        errors["reason"] = "A reason is needed; it is kept in the audit log."
    for name in ("reason", "evidence"):
        if (length := len(getattr(decision, name))) > MAX_REASON:
            errors[name] = f"At most {MAX_REASON:,} characters; these are {length:,}."
    if (
        not decision.decision_id
        or len(decision.decision_id) > MAX_ID
        or not decision.decision_id.isprintable()
    ):
        errors["decision_id"] = "This form is not complete. Open the page again."
    if signal is Signal.RESOLVE:
        if decision.choice not in CHOICES:
            errors["choice"] = "Choose retry, skip or settled outside."
        if not decision.step or len(decision.step) > MAX_ID:
            errors["step"] = "Name the step whose compensation is stuck."
        if decision.choice == "settled_outside" and not decision.evidence:
            errors["evidence"] = "Say how it was settled, for example the number of the bank transfer."
    if errors:
        raise Invalid(errors)


def _tenant(description: WorkflowExecutionDescription) -> str | None:
    return description.typed_search_attributes.get(TENANT_ID)


async def send(
    viewer: Viewer,
    workflow_id: str,
    run_id: str,
    signal: Signal,
    *,
    reason: str = "",
    decision_id: str,
    choice: str = "",
    step: str = "",
    evidence: str = "",
) -> Sent:
    """The first half of `decide`: everything up to the signal. `await_verdict` must follow.

    A decision on a closed workflow is found here: Closed, or its stored verdict, if it has one, with
    `await_verdict`.
    """
    authorise(viewer, KINDS[signal].verb)
    decision = Decision(
        decision_id=decision_id.strip(),
        actor=viewer.name,
        roles=sorted(viewer.roles),
        reason=reason.strip(),
        at=datetime.now(UTC),
        step=step.strip(),
        choice=choice,
        evidence=evidence.strip(),
    )
    validate(signal, decision)
    client = await get_client()
    description = await wire.describe(client, workflow_id, run_id)
    shown = wire.Run(workflow_id, description.run_id, wire.chain_of(description))
    subject = Subject(workflow_id, shown.run_id, _tenant(description))
    act = Act(KINDS[signal].verb, signal.value, subject, decision.decision_id, decision.reason)
    letter = _Letter(client, shown, signal, decision, description.task_queue)
    if signal is Signal.CANCEL:
        letter.native = not await wire.takes_signal(
            client, shown, description.workflow_type, letter.queue, signal
        )
    async with AsyncExitStack() as stack:
        performance = await stack.enter_async_context(perform(viewer, act))
        run = await _deliver(letter, performance)
        return Sent(performance, client, run, letter.queue, stack.pop_all())


@dataclass(slots=True)
class _Letter:
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


async def _deliver(letter: _Letter, performance: Performance) -> wire.Run:
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


async def _ask(letter: _Letter, run: wire.Run, name: Query, *arguments: str) -> Any:
    """What a closed workflow answers; None when nobody can ask it."""
    try:
        if not await has_pollers(letter.client, letter.queue):
            return None
        return await wire.query(letter.client, run, name, conf().verdict_seconds, *arguments)
    except (NoAnswer, QueryFailed, TemporalAway):
        return None


async def _stored(letter: _Letter, run: wire.Run) -> Verdict | None:
    """What a closed workflow did with this very decision, if it had got it before."""
    with suppress(ValidationError):
        verdict = Verdict.model_validate(await _ask(letter, run, Query.DECISION, letter.decision.decision_id))
        return None if verdict.outcome in (Outcome.UNKNOWN, Outcome.PENDING) else verdict
    return None


async def _decided(letter: _Letter, run: wire.Run) -> Verdict | None:
    """Who decided before it closed, for somebody whose decision came too late."""
    if letter.signal not in (Signal.APPROVE, Signal.REJECT):
        return None
    with suppress(ValidationError):
        status = ApprovalStatus.model_validate(await _ask(letter, run, Query.APPROVAL))
        vote = status.votes[-1] if status.votes else Vote()
        detail = f"It was {status.state} before."
        return Verdict(outcome=Outcome.ALREADY_DECIDED, detail=detail, by=vote.actor, at=vote.at)
    return None


async def await_verdict(sent: Sent, deadline: float | None = None) -> Verdict:
    """The second half: wait for the workflow's answer until `deadline` (of time.monotonic(); default: the
    setting VERDICT_SECONDS from now), and close the audit with it. No answer in time is Outcome.PENDING,
    never an error."""
    async with sent.record:
        if sent.performance.verdict.outcome == Outcome.UNKNOWN:
            end = time.monotonic() + conf().verdict_seconds if deadline is None else deadline
            detail = await _poll(sent, end)
            if isinstance(detail, Verdict):
                sent.performance.verdict = detail
            else:
                sent.performance.verdict = Verdict(
                    decision_id=sent.performance.act.decision_id, outcome=Outcome.PENDING, detail=detail
                )
        return sent.performance.verdict


async def _poll(sent: Sent, end: float) -> Verdict | str:
    """The verdict, or a sentence why there is none yet."""
    waiting = f"Recorded and waiting: it counts as soon as a worker of {sent.queue} answers."
    pause = FIRST_PAUSE
    try:
        if not await has_pollers(sent.client, sent.queue):
            return waiting
        while (left := end - time.monotonic()) > 0:
            answer = await wire.query(
                sent.client, sent.run, Query.DECISION, left, sent.performance.act.decision_id
            )
            verdict = Verdict.model_validate(answer)
            if verdict.outcome not in (Outcome.UNKNOWN, Outcome.PENDING):
                return verdict
            await asyncio.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(pause * 2, LONGEST_PAUSE)
    except (QueryFailed, ValidationError):
        return "The workflow took the signal; it has no verdicts."
    except (NoAnswer, TemporalAway, RunNotFound):
        return waiting
    return "Recorded and waiting: the workflow has not answered yet."


async def decide(
    viewer: Viewer,
    workflow_id: str,
    run_id: str,
    signal: Signal,
    *,
    reason: str = "",
    decision_id: str,
    choice: str = "",
    step: str = "",
    evidence: str = "",
) -> Verdict:
    """Send a decision of `viewer` and return what the workflow made of it.

    `run_id` is the run that was shown (empty: the newest). `decision_id` is made with the form: sending it
    again gives the same answer. Raises Invalid, Forbidden, Hidden, RunNotFound, Closed, TemporalAway.
    """
    sent = await send(
        viewer,
        workflow_id,
        run_id,
        signal,
        reason=reason,
        decision_id=decision_id,
        choice=choice,
        step=step,
        evidence=evidence,
    )
    return await await_verdict(sent)


@dataclass(frozen=True, slots=True)
class Choice:
    """A button of the decision form; `why` says why it is disabled."""

    act: str
    label: str
    why: str = ""

    @property
    def destructive(self) -> bool:
        return KINDS[ACTS[self.act]].needs_reason


ACTS: dict[str, Signal] = {
    "approve": Signal.APPROVE,
    "reject": Signal.REJECT,
    "cancel": Signal.CANCEL,
    "resolve": Signal.RESOLVE,
}
LABELS = {"approve": "Approve", "reject": "Reject", "cancel": "Cancel", "resolve": "Resolve"}


def choices(viewer: Viewer, subject: Subject, acts: Iterable[str]) -> list[Choice]:
    """The buttons for some acts on a run, disabled with the reason where the viewer may not press them."""
    return [Choice(act, LABELS[act], may(viewer, KINDS[ACTS[act]].verb, subject)) for act in acts]
