"""Which decisions of a run this console sent: those that the audit log has the intent of.

What others sent in a person's name is added to the log when it is first seen, with the identity of its
sender, so that the log is no picture of half of what was decided.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from dashboard.access import Subject
from dashboard.audit.log import append
from dashboard.models import AuditEntry
from dashboard.temporal_api.senders import Origins, SentSignal

logger = logging.getLogger(__name__)
MOST = 2000  # decisions of one workflow that are compared, the newest
MOST_ADDED = 20  # rows that one look at a run adds to the log
NOT_SENT_HERE = "not_sent_here"


def _key(subject: Subject, sent: SentSignal) -> str:
    """The id of the row about a signal: its decision's, or its place in the history."""
    return (sent.decision_id or f"{subject.run_id}:{sent.number}")[:100]


def _add(subject: Subject, foreign: Collection[SentSignal], known: set[str]) -> None:
    new = [sent for sent in foreign if f"{_key(subject, sent)} {sent.actor[:150]}" not in known]
    for sent in new[:MOST_ADDED]:
        append(
            actor=sent.actor[:150],
            action=sent.signal[:60],
            workflow_id=subject.workflow_id,
            run_id=subject.run_id,
            namespace=subject.namespace,
            tenant=subject.tenant or "",
            decision_id=_key(subject, sent),
            reason=sent.reason,
            phase=AuditEntry.Phase.OUTCOME,
            outcome=NOT_SENT_HERE,
            detail=f"Not sent by this console: identity {sent.identity or 'unknown'}.",
        )


def _compare(subject: Subject, sent: Collection[SentSignal]) -> Origins:
    rows = AuditEntry.objects.filter(namespace=subject.namespace, workflow_id=subject.workflow_id)
    columns = ("decision_id", "actor", "phase", "outcome")
    here, seen = set(), set()
    for decision_id, actor, phase, outcome in rows.values_list(*columns)[:MOST]:
        if phase == AuditEntry.Phase.INTENT and decision_id:
            here |= {(decision_id, actor), ("", actor)}
        elif outcome == NOT_SENT_HERE:
            seen.add(f"{decision_id} {actor}")
    foreign = [one for one in sent if one.actor and (one.decision_id, one.actor) not in here]
    _add(subject, foreign, seen)
    identities = {(one.decision_id, one.actor): one.identity for one in foreign}
    return Origins(frozenset(here), identities, frozenset(one.number for one in foreign))


async def origins_of(subject: Subject, sent: Collection[SentSignal]) -> Origins | None:
    """What of a run's decisions was sent by this console; None while the database does not say."""
    try:
        return await sync_to_async(_compare)(subject, sent)
    except DatabaseError:
        logger.exception("The decisions of %s could not be compared with the audit log.", subject.workflow_id)
        return None
