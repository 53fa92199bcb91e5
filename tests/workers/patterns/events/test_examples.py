"""The examples of docs/patterns on events and long processes run as they stand there."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import Client

from tests.examples import loyalty, parcel, statements
from tests.workers.patterns.saga.effects import known, running
from workers.contracts import Decision
from workers.patterns.batches.workflow import LongRunningWorkflow
from workers.patterns.events.event_driven_workflow import EventDrivenWorkflow

pytestmark = pytest.mark.django_db(transaction=True)  # names resolve by a table too


async def test_a_loyalty_card(client: Client, queue: str, worker: Any, monkeypatch: Any) -> None:
    loyalty.SENT.clear()
    activities = known(monkeypatch, queue, loyalty.send_gift)
    async with running(worker, queue, loyalty.LoyaltyCard, activities):
        handle = await client.start_workflow(
            loyalty.LoyaltyCard.run, loyalty.START, id=f"card-{uuid.uuid4().hex}", task_queue=queue
        )
        await handle.signal("earn", {"event_id": "till-1", "at": "2026-03-01T10:00:00Z", "points": 50})
        for event_id, points in (("web-1", 30), ("web-1", 30), ("web-2", 30)):
            body = {"event_id": event_id, "at": "2026-03-02T10:00:00Z", "points": points, "gift": "mug"}
            await handle.signal("spend", body)
        state = await handle.query("get_state")
        assert (state["state"], state["refused"][0]["detail"]) == (
            {"points": 20},
            "Only 20 points are left.",
        )
        await handle.signal("give_back", Decision(decision_id="d1", actor="ann"))
        assert await handle.result() == {"points": 20}
    assert [*loyalty.SENT.items()] == [(f"{handle.id}/web-1", "mug")]


async def test_a_parcel(client: Client, queue: str, worker: Any, monkeypatch: Any) -> None:
    parcel.TOLD.clear()
    activities = known(monkeypatch, queue, parcel.tell_customer)
    async with running(worker, queue, EventDrivenWorkflow, activities):
        handle = await client.start_workflow(
            EventDrivenWorkflow.run, parcel.PARCEL, id=f"parcel-{uuid.uuid4().hex}", task_queue=queue
        )
        for number, kind in enumerate(["scanned", "weighed", "delivered"]):
            body = {
                "event_id": f"s{number}",
                "at": datetime.now(UTC),
                "type": kind,
                "payload": {"town": f"town {number}"},
            }
            await handle.signal("workflow_event", body)
        result = await handle.result()
    assert (result.reason, result.events, result.followed) == ("completed by event", 3, 2)
    assert [*parcel.TOLD.values()] == ["Your parcel is in town 0.", "Your parcel is in town 2."]


async def test_statements(client: Client, queue: str, worker: Any, monkeypatch: Any) -> None:
    statements.SENT.clear()
    statements.TOLD.clear()
    activities = known(
        monkeypatch, queue, statements.read_accounts, statements.send_statement, statements.tell_finance
    )
    async with running(worker, queue, LongRunningWorkflow, activities):
        for _ in range(2):  # started again, each statement still leaves once
            result = await client.execute_workflow(
                LongRunningWorkflow.run,
                statements.STATEMENTS,
                id=f"statements-{uuid.uuid4().hex}",
                task_queue=queue,
            )
            assert (result.done, result.failed) == (119, 1)
            assert result.failed_items[0].error == "ValueError: Account 17 has no address."
    assert len(statements.SENT) == 119
    assert statements.SENT["statements-2026-01/16"] == "a16@example.org"
    assert [notice.event for notice in statements.TOLD] == ["quarter", "quarter", "completed"] * 2
