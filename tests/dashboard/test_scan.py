"""The shared scan: one call for all who ask at once, totals with sums and addresses, partitions, and its
limit."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from temporalio.common import SearchAttributeKey, SearchAttributePair

from dashboard import extend
from dashboard.access import Viewer
from dashboard.conf import conf
from dashboard.extend import Money, Pipeline, Stage
from dashboard.temporal_api import scan
from tests.dashboard.factories import start_run
from tests.support import eventually

VERA = Viewer("vera", frozenset({"viewer"}))
AMOUNT = SearchAttributeKey.for_float("OrderAmount")


@pytest.fixture
async def freight(client, queue, monkeypatch):
    """Four runs of a type with a line that no other test has: two held by payments, one by another, one
    moving."""
    name = f"Freight{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(
        extend, "pipelines", {name: Pipeline(name, "Freight", (Stage("charging", "Charging"),))}
    )
    monkeypatch.setattr(extend, "moneys", {name: Money(name, "OrderAmount", "currency")})
    held = (("acme", "breaker:payments", 10.5, "EUR"), ("rival", "breaker:payments", 2, "USD"))
    for at, (tenant, waits, amount, currency) in enumerate((*held, ("acme", "breaker:it's", 1, "EUR"))):
        await start_run(
            client,
            queue,
            f"{name}-{at}",
            tenant=tenant,
            workflow_type=name,
            memo={"currency": currency},
            extra=(SearchAttributePair(AMOUNT, float(amount)),),
            stage="charging",
            waiting_for=waits,
        )
    await start_run(client, queue, f"{name}-free", tenant="acme", workflow_type=name, stage="receiving")

    async def all_there():
        return (await client.count_workflows(f"WorkflowType = '{name}'")).count == 4

    await eventually(all_there)
    return name


async def test_totals_count_and_sum_and_lead_to_exactly_those_runs(client, freight):
    found = await scan.open_runs(VERA)

    assert found.complete
    held = found.held()
    assert {name: total.count for name, total in held.items()} == {"payments": 2, "it's": 1}
    assert held["payments"].sums == {"EUR": 1050, "USD": 200}
    assert "condition=held" in held["it's"].url
    assert "breaker%3Ait%27s" in held["it's"].url
    stages = found.by_stage(freight)
    assert {name: total.count for name, total in stages.items()} == {"charging": 3, "receiving": 1}
    assert {name: total.count for name, total in found.by_condition().items()} == {"held": 3, "running": 1}


async def test_many_who_ask_at_once_share_one_scan(client, freight):
    scans = await asyncio.gather(*(scan.open_runs(VERA) for _ in range(20)))

    assert len({id(item) for item in scans}) == 1
    assert await scan.open_runs(VERA) is scans[0]


async def test_viewers_of_a_tenant_see_their_own_partition(client, freight, settings):
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})
    acme, rival = (Viewer("v", frozenset({"viewer"}), tenant=name) for name in ("acme", "rival"))

    ours, theirs = await asyncio.gather(scan.open_runs(acme), scan.open_runs(rival))

    assert {row.attributes["TenantId"] for row in ours.rows} == {"acme"}
    assert [row.workflow_id for row in theirs.rows] == [f"{freight}-1"]
    assert ours.held()["payments"].count == 1


async def test_above_the_limit_it_says_that_there_are_more(client, freight, settings):
    settings.DASHBOARD = conf().model_copy(update={"scan_limit": 3})

    found = await scan.open_runs(VERA)

    assert (len(found.rows), found.complete) == (3, False)
    totals = await scan.condition_totals(VERA, found)
    assert {name: total.count for name, total in totals.items() if total.count} == {"held": 3, "running": 1}
    assert (await scan.condition_totals(VERA, found, "AnotherType"))["held"].count == 0
    held = await scan.held_totals(VERA, found, ["payments", "mail"])
    assert {name: total.count for name, total in held.items()} == {"payments": 2, "it's": 1}


async def test_above_the_limit_the_oldest_stuck_saga_is_not_missing(client, queue, freight, settings):
    settings.DASHBOARD = conf().model_copy(update={"scan_limit": 2})
    stuck = [f"{freight}-stuck-{at}" for at in range(2)]
    for name in stuck:
        await start_run(client, queue, name, workflow_type=freight, saga_state="stuck")
    for at in range(3):
        await start_run(client, queue, f"{freight}-new-{at}", workflow_type=freight)

    async def listed():
        return (await client.count_workflows(f"WorkflowType = '{freight}'")).count == 9

    await eventually(listed)
    found = await scan.open_runs(VERA)
    assert not [row for row in found.rows if row.condition == "stuck"]
    assert [row.workflow_id for row in await scan.oldest_stuck(VERA, found)] == stuck


async def test_the_latest_scan_never_waits_and_starts_a_new_one(client, freight):
    assert await scan.latest_scan(VERA) is None

    found = await eventually(lambda: scan.latest_scan(VERA))

    assert len(found.rows) == 4
