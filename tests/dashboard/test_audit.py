"""The chain of the audit log: it holds, it shows every tampering, and the database refuses to change it."""

from __future__ import annotations

import io
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from dashboard.access import Subject, Viewer
from dashboard.audit import log as audit
from dashboard.models import AuditEntry
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
    assert audit.digest(AuditEntry.objects.get(pk=entry.pk)) == entry.hash
    assert audit.verify() == (1, entry.hash, None)


@pytest.mark.parametrize("field", ["reason", "actor", "outcome", "run_id", "request_id"])
def test_a_changed_row_is_named(field):
    rows = [add() for _ in range(3)]
    AuditEntry.objects.filter(pk=rows[1].pk).update(**{field: "forged"})
    count, _, broken = audit.verify()
    assert (count, broken) == (1, audit.Broken(rows[1].pk, "its content was changed"))


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


def test_the_database_refuses_to_change_or_remove():
    entry = add()
    with connection.schema_editor() as editor:
        append_only.guard(None, editor)
    try:
        with pytest.raises(DatabaseError, match="append-only"):
            AuditEntry.objects.filter(pk=entry.pk).update(reason="forged")
        with pytest.raises(DatabaseError, match="append-only"):
            AuditEntry.objects.filter(pk=entry.pk).delete()
        add()
        assert audit.verify()[0] == 2
    finally:
        with connection.schema_editor() as editor:
            append_only.unguard(None, editor)
