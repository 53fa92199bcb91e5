"""The overview: stages with their breakers, compensation, what needs a person, and what is not known."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.http import QueryDict
from django.test import AsyncClient
from temporalio.common import SearchAttributePair

from dashboard import extend
from dashboard.access import Subject, Viewer
from dashboard.audit import log as audit
from dashboard.live import cached_read
from dashboard.live.cached_read import Snapshot
from dashboard.pages.breakers import read as breakers
from dashboard.pages.overview import read as overview
from dashboard.query.query import Filter, compile_filter, condition_of
from dashboard.states import STATES
from dashboard.temporal_api.rows import Row
from dashboard.temporal_api.scan import Scan
from orders.attributes import ORDER_AMOUNT
from tests.dashboard.factories import start_run
from tests.support import HTMX, eventually
from workers.client.errors import TemporalUnavailable
from workers.contracts import CircuitStatus, Money

NOW = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)
STAGES = ("received", "approval", "charging", "shipping", "delivered")
PIPELINE = extend.Pipeline(
    "Parcel", "Parcels", tuple(extend.Stage(name, name.title()) for name in STAGES), {"charging": "payments"}
)


@pytest.fixture(autouse=True)
def forgotten():
    cached_read.forget()


@pytest.fixture
def pipeline(monkeypatch):
    monkeypatch.setitem(extend.pipelines, "Parcel", PIPELINE)
    return PIPELINE


def row(name: str, stage: str, deadline: datetime | None = None, minor: int = 1000, **attributes: str) -> Row:
    condition = condition_of("Parcel", 1, attributes)
    shown = STATES["condition"][condition] if condition else STATES["status"][1]
    return Row(
        workflow_id=name,
        run_id="r",
        workflow_type="Parcel",
        status=1,
        status_name="Running",
        condition=condition,
        tone=shown.tone,
        word=shown.word,
        stage=stage,
        waiting_for=attributes.get("WaitingFor", ()),
        deadline=deadline,
        amount=Money(minor=minor, currency="EUR"),
        beside_id=("", ""),
        namespace="default",
        attributes=dict(attributes),
        memo={},
        start_time=NOW,
        close_time=None,
        url=f"/{name}",
    )


def card(state: str) -> breakers.Breaker:
    status = CircuitStatus(state=state, dependency="payments", next_probe_at=NOW)
    return breakers.Breaker(row("breaker-payments", ""), "payments", state, Snapshot(status, NOW), None)


def view(
    *rows: Row, cards: dict[str, breakers.Breaker] | None = None, counts=(412, 38)
) -> overview.PipelineView:
    scan = Scan("default", [*rows], NOW, True)
    return overview._pipeline_view(PIPELINE, scan, scan.by_condition("Parcel"), cards or {}, [*counts])


def counted(stages: list[overview.StageView]) -> dict[str, int]:
    return {stage.label: stage.total.count for stage in stages}


def test_what_is_compensated_is_not_counted_on_the_way_forward(pipeline):
    found = view(
        row("a", "received"),
        row("b", "charging"),
        row("c", "charging", SagaState="compensating"),
        row("d", "shipping", SagaState="stuck", WaitingFor=("operator",)),
    )
    assert counted(found.forward) == {
        "Received": 1,
        "Approval": 0,
        "Charging": 1,
        "Shipping": 0,
        "Delivered": 412,
    }
    assert counted(found.back) == {"Compensating": 1, "Needs a person": 1, "Compensated": 38}
    assert [stage.at for stage in found.back] == [3, 2, 1]


def test_a_stage_shows_the_worst_that_stands_there(pipeline):
    soon = datetime.now(UTC) + timedelta(minutes=5)
    found = view(
        row("a", "received"),
        row("b", "approval", deadline=soon, WaitingFor=("approval",)),
        row("c", "approval", WaitingFor=("approval",)),
        row("d", "charging", WaitingFor=("breaker", "breaker:payments")),
        row("e", "charging"),
    )
    assert [(stage.tone, stage.note) for stage in found.forward] == [
        ("run", ""),
        ("wait", "1 due soon"),
        ("stop", "1 held"),
        ("rest", ""),
        ("done", ""),
    ]


def test_a_paused_run_stands_in_its_stage_and_its_list_has_it(pipeline):
    paused = {"status": 8, "condition": None}
    back = {**paused, "attributes": {"SagaState": "compensating"}}
    found = view(
        row("a", "charging"),
        replace(row("b", "charging"), **paused),
        replace(row("c", "charging"), **back),
    )
    charging = found.forward[2]
    assert (charging.total.count, charging.tone, charging.note) == (2, "wait", "1 paused")
    assert "status=" not in charging.total.url
    narrowed = Filter.from_params(QueryDict(charging.total.url.partition("?")[2]))
    assert "`CloseTime` IS NULL" in compile_filter(narrowed, Viewer("vera", frozenset({"viewer"}))).typed


@pytest.mark.parametrize(("state", "shown"), [("OPEN", True), ("HALF_OPEN", True), ("CLOSED", False)])
def test_a_breaker_stands_before_the_guarded_stage_unless_calls_pass(pipeline, state, shown):
    held = row("d", "charging", WaitingFor=("breaker", "breaker:payments"), minor=1250)
    charging = view(held, cards={"payments": card(state)}).forward[2]
    assert (charging.breaker is not None) == shown
    assert charging.held.sums == {"EUR": 1250}
    assert charging.guarded


def test_each_stage_leads_to_the_list_of_its_runs(pipeline):
    found = view(row("d", "charging"))
    assert "v=charging" in found.forward[2].total.url
    assert "condition=stuck" in found.back[1].total.url
    assert all("type=Parcel" in stage.total.url for stage in found.forward + found.back)


def test_what_cannot_be_counted_is_not_a_zero(pipeline):
    found = view(counts=(None, None))
    assert not found.forward[-1].counted
    assert not found.back[-1].counted


@pytest.fixture
def tenant(client, settings):
    """A tenant of its own, so that the runs of other tests are not counted."""
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    return f"tenant-{uuid.uuid4().hex[:8]}"


async def test_the_pipelines_are_counted_within_the_tenant(client, queue, tenant):
    viewer = Viewer("vera", frozenset({"viewer"}), tenant=tenant)
    order = {"workflow_type": "OrderWorkflow", "tenant": tenant, "memo": {"currency": "EUR"}}
    extra = (SearchAttributePair(ORDER_AMOUNT, 640.0),)
    await start_run(client, queue, f"{tenant}~1", stage="received", **order)
    stuck = {"stage": "shipping", "saga_state": "stuck", "waiting_for": "operator", "extra": extra}
    await start_run(client, queue, f"{tenant}~2", **stuck, **order)
    await start_run(client, queue, f"{tenant}-x", stage="received", **{**order, "tenant": "another"})

    async def both():
        seen = await overview.read(viewer)
        return seen.value if seen.value and len(seen.value.totals) == 2 else None

    found = await eventually(both)
    (orders,) = (item for item in found.pipelines if item.workflow_type == "OrderWorkflow")
    assert orders.forward[0].total.count == 1
    assert [item.workflow_id for item in found.stuck] == [f"{tenant}~2"]
    assert found.totals["stuck"].sums == {"EUR": 64000}


async def test_open_runs_of_other_types_are_counted_beside_the_pipelines(client, queue, tenant, monkeypatch):
    monkeypatch.setattr(overview, "COUNTS_FRESH", 0.0)
    viewer = Viewer("vera", frozenset({"viewer"}), tenant=tenant)
    for at, name in enumerate(["Alien", "Alien", "Guest"]):
        await start_run(client, queue, f"{tenant}~{at}", workflow_type=name, tenant=tenant)
    await start_run(client, queue, f"{tenant}~order", workflow_type="OrderWorkflow", tenant=tenant)
    await start_run(client, queue, f"{tenant}-x", workflow_type="Hidden", tenant="another")

    async def counted():
        seen = (await overview.read(viewer)).value
        return seen if seen and sum(number for _, number, _ in seen.others) == 3 else None

    found = await eventually(counted)
    assert found.pipelines
    assert [(name, number) for name, number, _ in found.others] == [("Alien", 2), ("Guest", 1)]
    assert "type=Alien" in found.others[0][2]


@pytest.mark.django_db(transaction=True)
async def test_the_page_links_what_needs_a_person(client, queue, viewer_user):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    name = f"order-{uuid.uuid4().hex}"
    attributes = {"stage": "shipping", "saga_state": "stuck", "waiting_for": "operator"}
    await start_run(client, queue, name, workflow_type="OrderWorkflow", **attributes)

    async def shown():
        text = (await browser.get("/ns/default/", headers=HTMX)).content.decode()
        return text if "Needs a person" in text and "Stuck" in text else ""

    text = await eventually(shown)
    assert "<html" not in text
    assert "Just now" not in text  # viewers may not read the audit log
    page = (await browser.get("/ns/default/")).content.decode()
    assert 'aria-current="page"' in page
    assert 'id="overview"' in page


@pytest.mark.django_db(transaction=True)
async def test_operators_see_what_was_done_last(client, operator_user):
    browser = AsyncClient()
    await browser.aforce_login(operator_user)
    anna = Viewer("anna", frozenset({"approver"}))
    intent = await audit.intend(
        anna, "reject", Subject("default", "order-<7>", "r", None), decision_id="d", reason="no"
    )
    await audit.conclude(intent, "applied", "Rejected.")
    text = (await browser.get("/ns/default/")).content.decode()
    assert "order-&lt;7&gt;" in text
    assert "anna: reject" in text


@pytest.mark.django_db(transaction=True)
async def test_without_temporal_the_page_still_comes(client, viewer_user, monkeypatch):
    async def away():
        raise TemporalUnavailable("Temporal cannot be reached.")

    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    monkeypatch.setattr("dashboard.access.get_client", away)
    answer = await browser.get("/ns/default/")
    assert answer.status_code == 200
    assert "Temporal cannot be reached." in answer.content.decode()
