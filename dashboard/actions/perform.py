"""The one way in which a person's act happens: authorise, audit the intent, act, audit the outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError

from dashboard.access import Subject, Verb, Viewer, authorise
from dashboard.audit import log as audit
from dashboard.live.cached_read import invalidate
from dashboard.models import AuditEntry
from workers.contracts import Outcome, Verdict

logger = logging.getLogger(__name__)
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody sets out to do. `action` is the name that the audit log shows, `detail` what there is to
    it besides the reason."""

    verb: Verb
    action: str
    subject: Subject
    decision_id: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(slots=True)
class Performance:
    """An act under way. Whoever performs it puts the answer into `verdict`."""

    act: Act
    verdict: Verdict = field(default_factory=Verdict)


@asynccontextmanager
async def perform(viewer: Viewer, act: Act) -> AsyncIterator[Performance]:
    """Run the body as an act of `viewer`.

    Raises Forbidden or Hidden before anything is done, and DatabaseError when the intent cannot be recorded:
    then the body does not run. What the body raises is recorded as failed and passes on.
    """
    authorise(viewer, act.verb, act.subject)
    intent = await audit.intend(
        viewer, act.action, act.subject, decision_id=act.decision_id, reason=act.reason, detail=act.detail
    )
    performance = Performance(act)
    try:
        yield performance
    except asyncio.CancelledError:
        await _conclude(intent, Outcome.UNKNOWN, "Interrupted before the answer; it may have been applied.")
        raise
    except Exception as error:
        await _conclude(intent, FAILED, str(error) or type(error).__name__)
        raise
    await _conclude(intent, str(performance.verdict.outcome), performance.verdict.detail)


async def _conclude(intent: AuditEntry, outcome: str, detail: str) -> None:
    """What happened has happened: a log that cannot be written now must not hide the answer from the
    person."""
    invalidate(intent.namespace)
    try:
        await audit.conclude(intent, outcome[:30], detail)
    except DatabaseError:
        logger.exception("The outcome %s of audit entry %s could not be recorded.", outcome, intent.pk)
