"""Decisions without an outcome in the audit: their workflows are queried later, and the outcome is written.

A request waits a few seconds for a verdict. Where no worker answers in that time, or the web process dies,
the workflow still has the verdict; each web process queries it every EVERY seconds, and so does
`manage.py auditreconcile`.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from asgiref.sync import sync_to_async
from django.db import DatabaseError
from django.db.models import Exists, Max, OuterRef, QuerySet
from pydantic import ValidationError
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.client import Client

from dashboard.audit import log
from dashboard.extend import actions
from dashboard.models import AuditEntry
from dashboard.states import look
from dashboard.temporal_api.decisions import UNSETTLED, ChainRun, find_run, newest_of_chain, query_run
from workers.client.connection import get_client
from workers.client.errors import NoAnswer, QueryFailed, RunNotFound, TemporalError, TemporalUnavailable
from workers.contracts import Outcome, Query, Verdict

logger = logging.getLogger(__name__)
EVERY = 15.0  # seconds
RECENT_ROWS = 10_000  # of the log that are searched
MOST, AT_ONCE = 200, 5  # decisions a round, and queries side by side
YOUNGEST = timedelta(seconds=40)  # a request under way writes its outcome itself within this time
GIVEN_UP = timedelta(days=1)  # a run that has ended, and that no worker answers for until then
CANCELLED = look(int(Status.WORKFLOW_EXECUTION_STATUS_CANCELED), "status").word
FAILED, UNANSWERED = "failed", "unanswered"


def unsettled() -> QuerySet[AuditEntry]:
    """Intents of decisions without an outcome, or with none but "not confirmed yet", newest first."""
    settled = AuditEntry.objects.filter(intent=OuterRef("pk")).exclude(outcome__in=UNSETTLED)
    intents = AuditEntry.objects.filter(phase=AuditEntry.Phase.INTENT).exclude(decision_id="")
    return intents.exclude(Exists(settled))


def _due(namespace: str) -> list[AuditEntry]:
    newest = AuditEntry.objects.aggregate(id=Max("id"))["id"] or 0
    rows = unsettled().filter(
        id__gt=newest - RECENT_ROWS, at__lt=datetime.now(UTC) - YOUNGEST, namespace=namespace
    )
    return list(rows[:MOST])


async def settle(client: Client) -> int:
    """Write the outcomes that are known by now; how many. Running it twice, or in two processes, writes each
    once. Raises DatabaseError."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(intent: AuditEntry) -> bool:
        async with gate:
            found = await _found(client, intent)
        return bool(found) and await sync_to_async(_write)(intent, *found)

    due = await sync_to_async(_due)(client.namespace)
    return sum(await asyncio.gather(*map(one, due)))


def _write(intent: AuditEntry, outcome: str, detail: str) -> bool:
    with log.serialised():
        if not unsettled().filter(pk=intent.pk).exists():
            return False
        log.add_outcome(intent, outcome, detail)
    return True


async def _found(client: Client, intent: AuditEntry) -> tuple[str, str] | tuple[()]:
    """The outcome of a decision and its detail; empty while it cannot be known."""
    try:
        run = await newest_of_chain(client, await find_run(client, intent.workflow_id, intent.run_id))
    except RunNotFound:
        return UNANSWERED, "Temporal no longer keeps this run."
    except TemporalUnavailable:
        return ()
    ended = (UNANSWERED, f"The run ended: {run.ended}.") if run.ended else ()
    action = actions().get(intent.action)
    if action and not action.signal:  # Temporal's own cancellation: the end of the run is the answer
        return (Outcome.APPLIED, ended[1]) if ended and run.ended == CANCELLED else ended
    try:
        answer = await query_run(client, run, Query.DECISION, intent.decision_id)
        verdict = Verdict.model_validate(answer)
    except (QueryFailed, ValidationError):  # a workflow that does not confirm decisions
        return ended
    except (NoAnswer, RunNotFound, TemporalUnavailable):
        return ended if datetime.now(UTC) - intent.at > GIVEN_UP else ()
    if verdict.outcome not in UNSETTLED:
        return str(verdict.outcome), verdict.detail
    return await _not_received(intent, run)


async def _not_received(intent: AuditEntry, run: ChainRun) -> tuple[str, str] | tuple[()]:
    """A worker answers, and its workflow has no such decision: it was never sent, or came after the end."""
    if run.ended:
        return UNANSWERED, f"The run ended without deciding on it: {run.ended}."
    if await intent.outcomes.aexists():  # it was sent, and Temporal keeps it
        return ()
    return FAILED, "It never reached the workflow."


async def keep_settling() -> None:
    """Settle every EVERY seconds until cancelled; while Temporal or the database is away, nothing is lost."""
    while True:
        await asyncio.sleep(EVERY)
        try:
            if count := await settle(await get_client()):
                logger.info("%d decisions got their outcome in the audit.", count)
        except (TemporalError, DatabaseError):  # pages and probes say so already
            continue
        except Exception:
            logger.exception(
                "The outcomes of decisions could not be looked up; the next try is in %g s.", EVERY
            )
