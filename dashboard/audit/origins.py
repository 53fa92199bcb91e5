"""Which decisions of a run this console sent: those that the audit log has the intent of.

What others sent in a person's name is added to the log when it is first seen, with the identity of its
sender, so that the log is no picture of half of what was decided.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from dashboard.access import Subject
from dashboard.audit.log import append, serialised, storable
from dashboard.models import AuditEntry
from dashboard.temporal_api.senders import Origins, SentSignal

logger = logging.getLogger(__name__)
MOST = 2000  # decisions of one workflow that are compared, the newest
MOST_ADDED = 20  # rows that one look at a run adds to the log
NOT_SENT_HERE = "not_sent_here"
COLUMNS = ("decision_id", "actor", "phase", "outcome")


Key = tuple[str, str]
"""Of the row about a signal: its decision's id, or its place in the history, and its actor."""


def _key(subject: Subject, sent: SentSignal) -> Key:
    where = sent.decision_id or f"{subject.run_id}:{sent.number}"
    return storable(where)[:100], storable(sent.actor)[:150]


def _add(subject: Subject, foreign: Mapping[Key, SentSignal]) -> None:
    """Add what the log does not have yet; two processes that see it at once add it once."""
    where = {
        "namespace": subject.namespace,
        "workflow_id": storable(subject.workflow_id),
        "outcome": NOT_SENT_HERE,
    }
    with serialised():
        rows = AuditEntry.objects.filter(decision_id__in=[key for key, _ in foreign], **where)
        known = set(rows.values_list("decision_id", "actor"))
        for key in [key for key in foreign if key not in known][:MOST_ADDED]:
            sent = foreign[key]
            append(
                actor=key[1],
                action=sent.signal[:60],
                run_id=subject.run_id,
                tenant=subject.tenant or "",
                decision_id=key[0],
                reason=sent.reason,
                phase=AuditEntry.Phase.OUTCOME,
                detail=f"Not sent by this console: identity {sent.identity or 'unknown'}.",
                **where,
            )


def _compare(subject: Subject, sent: Collection[SentSignal]) -> Origins:
    rows = AuditEntry.objects.filter(namespace=subject.namespace, workflow_id=storable(subject.workflow_id))
    here: set[Key] = set()
    seen: set[Key] = set()
    for decision_id, actor, phase, outcome in rows.values_list(*COLUMNS)[:MOST]:
        if phase == AuditEntry.Phase.INTENT and decision_id:
            here |= {(decision_id, actor), ("", actor)}
        elif outcome == NOT_SENT_HERE:
            seen.add((decision_id, actor))
    foreign = [one for one in sent if one.actor and (one.decision_id, one.actor) not in here]
    new = {_key(subject, one): one for one in foreign}
    if new := {key: one for key, one in new.items() if key not in seen}:
        try:
            _add(subject, new)
        except DatabaseError:  # the marks on the page do not depend on it
            logger.exception("Decisions of others on %s could not be recorded.", subject.workflow_id)
    identities = {(one.decision_id, one.actor): one.identity for one in foreign}
    return Origins(frozenset(here), identities, frozenset(one.number for one in foreign))


async def origins_of(subject: Subject, sent: Collection[SentSignal]) -> Origins | None:
    """What of a run's decisions was sent by this console; None while the database does not say."""
    try:
        return await sync_to_async(_compare)(subject, sent)
    except DatabaseError:
        logger.exception("The decisions of %s could not be compared with the audit log.", subject.workflow_id)
        return None
