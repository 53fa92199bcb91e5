"""One action in the audit: intent, outcome, in this order; not done when the log cannot be written."""

from __future__ import annotations

import asyncio

import pytest
from django.db import DatabaseError

from dashboard.access import Subject
from dashboard.audit import log as audit
from dashboard.audit.record import recorded
from dashboard.errors import NotRecorded
from dashboard.models import AuditEntry
from workers.contracts import Outcome, Verdict

pytestmark = pytest.mark.django_db(transaction=True)


def cancelling(viewers):
    subject = Subject("default", "order-1", "run-1", None)
    return recorded(viewers["operator"], "cancel", subject, decision_id="d-1", reason="no stock")


async def rows():
    return [(row.phase, row.outcome, row.detail) async for row in AuditEntry.objects.order_by("id")]


async def test_intent_before_and_outcome_after(viewers):
    async with cancelling(viewers) as record:
        assert await rows() == [("intent", "", "")]
        record.verdict = Verdict(outcome=Outcome.APPLIED, detail="Undoing.")
    assert (await rows())[1:] == [("outcome", "applied", "Undoing.")]


async def test_what_fails_is_recorded_and_passes_on(viewers):
    with pytest.raises(ZeroDivisionError):
        async with cancelling(viewers):
            raise ZeroDivisionError("by zero")
    assert (await rows())[1] == ("outcome", "failed", "by zero")


async def test_an_interruption_is_recorded_too(viewers):
    with pytest.raises(asyncio.CancelledError):
        async with cancelling(viewers):
            raise asyncio.CancelledError
    assert (await rows())[1][:2] == ("outcome", "unknown")


async def test_a_log_that_cannot_be_written_stops_the_action(viewers, monkeypatch):
    def full(**fields):
        raise DatabaseError("disk full")

    monkeypatch.setattr(audit, "append", full)
    with pytest.raises(NotRecorded):
        async with cancelling(viewers):
            pytest.fail("it ran")


async def test_an_outcome_that_cannot_be_written_hides_no_answer(viewers, monkeypatch, caplog):
    async with cancelling(viewers) as record:
        record.verdict = Verdict(outcome=Outcome.APPLIED)

        def full(**fields):
            raise DatabaseError("disk full")

        monkeypatch.setattr(audit, "append", full)
    assert "could not be recorded" in caplog.text
