"""The audit of one action: its intent before, its outcome after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError

from dashboard.access import Subject, Viewer
from dashboard.audit import log
from dashboard.errors import NotRecorded, OutcomeUnknown
from dashboard.live.cached_read import invalidate
from dashboard.models import AuditEntry
from workers.contracts import Outcome, Verdict

logger = logging.getLogger(__name__)
FAILED = "failed"


@dataclass(slots=True)
class Record:
    """An action under way; its verdict goes into the audit log at the end."""

    verdict: Verdict = field(default_factory=Verdict)


@asynccontextmanager
async def recorded(
    viewer: Viewer,
    action: str,
    subject: Subject,
    *,
    decision_id: str = "",
    reason: str = "",
    detail: str = "",
) -> AsyncIterator[Record]:
    """Run the body as an action of `viewer`, who is authorised for it. `detail`: what there is to it besides
    the reason.

    Raises NotRecorded when the intent cannot be recorded: then the body does not run. What the body raises
    passes on; it is recorded as failed, or as unknown where it may have been applied (OutcomeUnknown).
    """
    try:
        intent = await log.intend(
            viewer, action, subject, decision_id=decision_id, reason=reason, detail=detail
        )
    except DatabaseError as error:
        raise NotRecorded from error
    record = Record()
    try:
        yield record
    except asyncio.CancelledError:
        await _conclude(intent, Outcome.UNKNOWN, "Interrupted before the answer; it may have been applied.")
        raise
    except OutcomeUnknown as error:
        await _conclude(intent, Outcome.UNKNOWN, f"{error.__cause__} It may have been applied.")
        raise
    except Exception as error:
        await _conclude(intent, FAILED, str(error) or type(error).__name__)
        raise
    await _conclude(intent, str(record.verdict.outcome), record.verdict.detail)


async def was_intended(subject: Subject, action: str, decision_id: str) -> bool:
    """Does the log have the intent of this decision?"""
    workflow_id = log.storable(subject.workflow_id)
    where = {"namespace": subject.namespace, "workflow_id": workflow_id, "action": action}
    rows = AuditEntry.objects.filter(decision_id=decision_id, phase=AuditEntry.Phase.INTENT, **where)
    return await rows.aexists()


async def record_not_done(
    viewer: Viewer, action: str, subject: Subject, why: str, *, reason: str = ""
) -> None:
    """Keep that an action came to nothing before it could be recorded. A log that cannot be written now is
    left to the log of the process: nothing has happened."""
    try:
        intent = await log.intend(viewer, action, subject, reason=reason)
    except DatabaseError:
        logger.exception("That %s of %s was not done could not be recorded.", action, subject.workflow_id)
    else:
        await _conclude(intent, FAILED, why)


async def _conclude(intent: AuditEntry, outcome: str, detail: str) -> None:
    """The action has happened: a log that cannot be written now must not hide the answer from the viewer."""
    invalidate(intent.namespace)
    try:
        await log.conclude(intent, outcome[:30], detail)
    except DatabaseError:
        logger.exception("The outcome %s of audit entry %s could not be recorded.", outcome, intent.pk)
