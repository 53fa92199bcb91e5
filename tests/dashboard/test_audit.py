"""The chain of the audit log: it holds, it shows every tampering, and the database refuses to change it."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.http import HttpResponse
from pydantic import SecretStr

from dashboard.access import Subject, Viewer
from dashboard.audit import log as audit
from dashboard.models import AuditEntry
from dashboard.web.middleware import security_headers
from tests.personas import append_only

pytestmark = pytest.mark.django_db(transaction=True)
RUN = Subject("default", "order-1", "run-1", "acme")
ANNA = Viewer("anna", frozenset({"finance", "approver"}))


def add(**fields):
    return audit.append(actor="anna", action="approve", workflow_id="order-1", phase="intent", **fields)


async def test_an_act_leaves_an_intent_and_an_outcome():
    intent = await audit.intend(ANNA, "reject", RUN, decision_id="d-1", reason="wrong address")
    outcome = await audit.conclude(intent, "applied", "Rejected.")
    assert (intent.phase, intent.roles, intent.tenant, intent.reason) == (
        "intent",
        "approver, finance",
        "acme",
        "wrong address",
    )
    assert (outcome.intent_id, outcome.outcome, outcome.decision_id) == (intent.pk, "applied", "d-1")
    assert (intent.previous_hash, outcome.previous_hash) == (audit.GENESIS, intent.hash)


def test_the_hash_survives_the_database():
    entry = add(reason="naïve “quotes” 🚂 and a null \0 and half \ud83d of a pair")
    assert audit.signature(AuditEntry.objects.get(pk=entry.pk)) == entry.hash
    assert audit.verify() == (1, entry.hash, None)


@pytest.mark.parametrize("field", ["reason", "actor", "outcome", "run_id", "request_id"])
def test_a_changed_row_is_named(field):
    rows = [add() for _ in range(3)]
    AuditEntry.objects.filter(pk=rows[1].pk).update(**{field: "forged"})
    count, _, broken = audit.verify()
    assert (count, broken) == (
        1,
        audit.Broken(rows[1].pk, "its content was changed, or its key is not in AUDIT_KEYS"),
    )


def test_a_removed_row_is_noticed_at_the_next():
    rows = [add() for _ in range(3)]
    rows[1].delete()
    assert audit.verify()[2] == audit.Broken(rows[2].pk, "the row before it is missing or was replaced")


def test_the_command_tells_and_exits():
    rows = [add() for _ in range(2)]
    out = io.StringIO()
    call_command("auditverify", stdout=out)
    assert "2 rows hold" in out.getvalue()
    assert rows[1].hash in out.getvalue()
    AuditEntry.objects.filter(pk=rows[0].pk).update(actor="mallory")
    with pytest.raises(CommandError, match=f"Row {rows[0].pk} breaks the chain"):
        call_command("auditverify")


def test_writers_at_once_make_one_chain():
    errors = []

    def write():
        try:
            for _ in range(5):
                add()
        except DatabaseError as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    count, _, broken = audit.verify()
    assert (count, broken) == (20, None)


def replace(entry, column):
    """INSERT OR REPLACE of a forged row that collides in one column, which removes the row that is there."""
    forged = {"id": entry.pk + 100, "hash": "0", "previous_hash": "1", column: getattr(entry, column)}
    names = [field.column for field in AuditEntry._meta.concrete_fields]
    values = [forged.get(name, getattr(entry, name, None)) for name in names]
    marks = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT OR REPLACE INTO dashboard_auditentry ({', '.join(names)}) VALUES ({marks})", values
        )


def test_the_database_refuses_to_change_or_remove():
    entry = add()
    with connection.schema_editor() as editor:
        append_only.guard(None, editor)
    try:
        with pytest.raises(DatabaseError, match="append-only"):
            AuditEntry.objects.filter(pk=entry.pk).update(reason="forged")
        with pytest.raises(DatabaseError, match="append-only"):
            AuditEntry.objects.filter(pk=entry.pk).delete()
        if connection.vendor == "sqlite":
            for column in ("id", "hash", "previous_hash"):
                with pytest.raises(DatabaseError, match="append-only"):
                    replace(entry, column)
        add()
        assert audit.verify()[0] == 2
    finally:
        with connection.schema_editor() as editor:
            append_only.unguard(None, editor)


def test_a_chain_that_was_written_anew_without_the_key_is_found(settings):
    rows = [add() for _ in range(3)]
    ring = settings.DASHBOARD
    settings.DASHBOARD = ring.model_copy(update={"audit_keys": SecretStr("a key of the forger")})
    previous = audit.GENESIS
    for row in AuditEntry.objects.order_by("id"):
        row.actor, row.previous_hash = "mallory", previous
        row.hash = previous = audit.signature(row)
        AuditEntry.objects.filter(pk=row.pk).update(
            actor="mallory", previous_hash=row.previous_hash, hash=row.hash
        )
    assert audit.verify()[0] == 3  # by the forger's key
    settings.DASHBOARD = ring
    count, _, broken = audit.verify()
    assert (count, broken and broken.entry_id) == (0, rows[0].pk)


def test_keys_can_be_changed_and_an_old_one_signs_no_more(settings):
    def ring(keys):
        settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"audit_keys": SecretStr(keys)})

    ring("old")
    add()
    ring("new,old")
    add()
    assert audit.verify()[0] == 2
    ring("old,new")
    third = add()
    ring("new,old")
    assert audit.verify()[2] == audit.Broken(
        third.pk, "its content was changed, or its key is not in AUDIT_KEYS"
    )


def test_the_time_and_the_id_of_a_request_are_ours(rf):
    def view(request):
        audit.record("anna", "login", "")
        return HttpResponse()

    before = datetime.now(UTC)
    security_headers(view)(rf.get("/", headers={"X-Request-ID": "chosen-by-the-client"}))
    entry = AuditEntry.objects.get()
    assert len(entry.request_id) == 32
    assert before <= entry.at <= datetime.now(UTC)
