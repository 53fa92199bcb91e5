"""The audit log's writer and its verifier.

Each entry hashes its content together with the hash of the one before, so that a changed, removed or inserted
row shows. Writing is serialised: on SQLite by its one writer (transactions are IMMEDIATE), on PostgreSQL by
an advisory lock. What a chain in one database cannot show is rows cut off its end by a person who owns the
database; keep copies of the last hash elsewhere (`manage.py auditverify` prints it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction

from dashboard.access import Subject, Viewer
from dashboard.models import AuditEntry
from dashboard.web.middleware import request_id
from workers.payloads.redaction import redact_text

GENESIS = "0" * 64
WRITTEN = ("reason", "detail")
CHAIN_LOCK = 0x5167_0A11  # any number, the same in every process
FIELDS = AuditEntry._meta.concrete_fields
HASHED = tuple(field.attname for field in FIELDS if field.name not in {"id", "hash"})


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row at which the chain does not hold."""

    entry_id: int
    why: str


def digest(entry: AuditEntry) -> str:
    """SHA-256, as hex, of the canonical JSON of all fields but the id and the hash itself."""
    content = {name: getattr(entry, name) for name in HASHED}
    content["at"] = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def storable(value: Any) -> Any:
    """Text as every database can keep it: PostgreSQL refuses NUL, UTF-8 refuses lone surrogates."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@contextmanager
def serialised() -> Iterator[None]:
    """A transaction in which no other one writes; those of SQLite are so by themselves."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
        yield


def append(**fields: Any) -> AuditEntry:
    """Add a row to the end of the chain and return it. What people and workflows wrote is redacted, as a row
    stays for ever. Raises DatabaseError if that cannot be done."""
    fields |= {name: redact_text(fields[name]) for name in WRITTEN if fields.get(name)}
    entry = AuditEntry(at=datetime.now(UTC), **{name: storable(value) for name, value in fields.items()})
    with serialised():
        last = AuditEntry.objects.order_by("-id").values_list("hash", flat=True).first()
        entry.previous_hash = last or GENESIS
        entry.hash = digest(entry)
        entry.save(force_insert=True)
    return entry


async def intend(
    viewer: Viewer,
    action: str,
    subject: Subject,
    *,
    decision_id: str = "",
    reason: str = "",
    detail: str = "",
) -> AuditEntry:
    """Record what is about to be done. The caller must not go on if this raises."""
    return await sync_to_async(append)(
        actor=viewer.name,
        roles=", ".join(sorted(viewer.roles)),
        action=action,
        workflow_id=subject.workflow_id,
        run_id=subject.run_id,
        namespace=subject.namespace,
        tenant=subject.tenant or "",
        decision_id=decision_id,
        reason=reason,
        detail=detail,
        phase=AuditEntry.Phase.INTENT,
        request_id=request_id.get(),
    )


async def conclude(intent: AuditEntry, outcome: str, detail: str) -> AuditEntry:
    """Record what came of it."""
    copied = ("actor", "roles", "action", "workflow_id", "run_id", "namespace", "tenant", "decision_id")
    return await sync_to_async(append)(
        **{name: getattr(intent, name) for name in copied},
        phase=AuditEntry.Phase.OUTCOME,
        intent_id=intent.pk,
        outcome=outcome,
        detail=detail,
        request_id=request_id.get(),
    )


def verify() -> tuple[int, str, Broken | None]:
    """Walk the chain from its start: how many rows hold, the hash of the last of them, the first that does
    not."""
    good, previous = 0, GENESIS
    for entry in AuditEntry.objects.order_by("id").iterator(chunk_size=1000):
        if entry.previous_hash != previous:
            return good, previous, Broken(entry.pk, "the row before it is missing or was replaced")
        if entry.hash != digest(entry):
            return good, previous, Broken(entry.pk, "its content was changed")
        good, previous = good + 1, entry.hash
    return good, previous, None
