"""The audit log's writer and its verifier.

Each entry is signed together with the signature of the one before (HMAC with a key of AUDIT_KEYS, not in the
database), so that a changed, removed or inserted row shows, and so does a chain that was written anew.
Writing is serialised: on SQLite by its one writer (transactions are IMMEDIATE), on PostgreSQL by an advisory
lock. What a chain in one database cannot show is rows cut off its end by a person who owns the database; keep
copies of the last hash elsewhere (`manage.py auditverify` prints it).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from pydantic_core import to_json

from dashboard.access import Subject, Viewer
from dashboard.conf import conf
from dashboard.models import AuditEntry
from dashboard.web.middleware import request_id
from workers.payloads.redaction import redact_text

GENESIS = "0" * 64
WRITTEN = ("reason", "detail")
CHAIN_LOCK = 0x5167_0A11  # any number, the same in every process
FIELDS = AuditEntry._meta.concrete_fields
SIGNED = tuple(sorted(field.attname for field in FIELDS if field.name not in {"id", "hash"}))
ACTOR_LENGTH = 150


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row at which the chain does not hold."""

    entry_id: int
    why: str


def _keys() -> list[bytes]:
    return [key.encode() for key in conf().audit_ring]


def _signature(content: Mapping[str, Any], key: bytes) -> str:
    """HMAC-SHA256, as hex, of the JSON of all fields but the id and the signature itself: without spaces, and
    in the order of their names."""
    at = content["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hmac.digest(key, to_json({**content, "at": at}), "sha256").hex()


def signature(entry: AuditEntry) -> str:
    """The signature of an entry by the key that signs now."""
    return _signature({name: getattr(entry, name) for name in SIGNED}, _keys()[0])


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
        entry.hash = signature(entry)
        entry.save(force_insert=True)
    return entry


def record(actor: str, action: str, detail: str) -> AuditEntry:
    """Add what happened outside of any workflow, such as a login. Raises DatabaseError."""
    return append(
        actor=actor[:ACTOR_LENGTH],
        action=action,
        detail=detail,
        phase=AuditEntry.Phase.EVENT,
        outcome="done",
        request_id=request_id.get(),
    )


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


def add_outcome(intent: AuditEntry, outcome: str, detail: str) -> AuditEntry:
    """Record what came of an intent. Raises DatabaseError."""
    copied = ("actor", "roles", "action", "workflow_id", "run_id", "namespace", "tenant", "decision_id")
    return append(
        **{name: getattr(intent, name) for name in copied},
        phase=AuditEntry.Phase.OUTCOME,
        intent_id=intent.pk,
        outcome=outcome,
        detail=detail,
        request_id=request_id.get(),
    )


conclude = sync_to_async(add_outcome)


def _signed_by(content: Mapping[str, Any], found: str, keys: Sequence[bytes]) -> int | None:
    """The place of the key that signed this; the last of them is tried first."""
    for place in range(len(keys) - 1, -1, -1):
        if hmac.compare_digest(_signature(content, keys[place]), found):
            return place
    return None


def verify() -> tuple[int, str, Broken | None]:
    """Walk the chain from its start: how many rows hold, the hash of the last of them, the first that does
    not. Once a newer key of the ring has signed a row, older ones sign none after it."""
    good, previous, keys = 0, GENESIS, _keys()
    rows = AuditEntry.objects.order_by("id").values_list("id", "hash", *SIGNED)
    for entry_id, found, *values in rows.iterator(chunk_size=2000):
        content = dict(zip(SIGNED, values, strict=True))
        if content["previous_hash"] != previous:
            return good, previous, Broken(entry_id, "the row before it is missing or was replaced")
        place = _signed_by(content, found, keys)
        if place is None:
            why = "its content was changed, or its key is not in AUDIT_KEYS"
            return good, previous, Broken(entry_id, why)
        good, previous, keys = good + 1, found, keys[: place + 1]
    return good, previous, None
