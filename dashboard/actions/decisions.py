"""Approve, cancel, force open and so on: a signal that the workflow gets exactly once, and its verdict.

Signals are durable where updates are not: sent with no worker running, they are kept. The console sends, then
reads `get_decision` back. An act is meant for the chain of runs that was shown: after continue-as-new it
follows to the run that is open now, and never to a later workflow that took the same id.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Unpack

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionDescription

from dashboard.access import Subject, Viewer, authorise, client_for
from dashboard.actions import wire
from dashboard.actions.delivery import Letter, deliver
from dashboard.actions.fields import Fields, decision_of, particulars
from dashboard.actions.kinds import KINDS
from dashboard.actions.perform import Act, Performance, perform
from dashboard.conf import conf
from workers.client.attributes import TENANT_ID
from workers.client.connection import has_pollers
from workers.client.errors import NoAnswer, QueryFailed, RunNotFound, TemporalUnavailable
from workers.contracts import Outcome, Query, Signal, Verdict

__all__ = ["Sent", "await_verdict", "closed_as", "decide", "send"]

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.2  # seconds between two looks for the verdict


@dataclass(frozen=True, slots=True)
class Sent:
    """A decision on its way: what `await_verdict` needs to read the answer and to close the audit."""

    performance: Performance
    client: Client
    run: wire.Run
    queue: str
    record: AsyncExitStack


def _tenant(description: WorkflowExecutionDescription) -> str | None:
    return description.typed_search_attributes.get(TENANT_ID)


async def send(
    viewer: Viewer,
    workflow_id: str,
    run_id: str,
    signal: Signal,
    **fields: Unpack[Fields],
) -> Sent:
    """The first half of `decide`: everything up to the signal. `await_verdict` must follow.

    A decision on a closed workflow is found here: Closed, or its stored verdict, if it has one, with
    `await_verdict`.
    """
    authorise(viewer, KINDS[signal].verb)
    decision = decision_of(viewer, signal, fields)
    client = await client_for(viewer)
    description = await wire.describe(client, workflow_id, run_id)
    shown = wire.Run(workflow_id, description.run_id, wire.chain_of(description))
    subject = Subject(viewer.namespace, workflow_id, shown.run_id, _tenant(description))
    decision.chain = shown.chain
    act = Act(
        KINDS[signal].verb,
        signal.value,
        subject,
        decision.decision_id,
        decision.reason,
        particulars(signal, decision),
    )
    letter = Letter(client, shown, signal, decision, description.task_queue)
    if signal is Signal.CANCEL:
        letter.native = not await wire.takes_signal(
            client, shown, description.workflow_type, letter.queue, signal
        )
    async with AsyncExitStack() as stack:
        performance = await stack.enter_async_context(perform(viewer, act))
        run = await deliver(letter, performance)
        return Sent(performance, client, run, letter.queue, stack.pop_all())


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
    except (NoAnswer, TemporalUnavailable, RunNotFound):
        return waiting
    return "Recorded and waiting: the workflow has not answered yet."


async def decide(
    viewer: Viewer,
    workflow_id: str,
    run_id: str,
    signal: Signal,
    **fields: Unpack[Fields],
) -> Verdict:
    """Send a decision of `viewer` and return what the workflow made of it.

    `run_id` is the run that was shown (empty: the newest). `decision_id` is made with the form: sending it
    again gives the same answer. Raises Invalid, Forbidden, Hidden, RunNotFound, Closed, TemporalUnavailable.
    """
    return await await_verdict(await send(viewer, workflow_id, run_id, signal, **fields))


async def closed_as(viewer: Viewer, workflow_id: str, run_id: str) -> str:
    """How the chain of a run ended, as a word; empty while it is open, or where nobody can say."""
    try:
        client = await client_for(viewer)
        described = await wire.describe(client, workflow_id, run_id)
        shown = wire.Run(workflow_id, described.run_id, wire.chain_of(described))
        last = await wire.last_of_chain(client, shown)
    except (RunNotFound, TemporalUnavailable):
        return ""
    return "" if last.open else last.word
