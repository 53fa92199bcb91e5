"""The overview: stations and signals by the line, the way back, who needs a person, and what is not known."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.test import AsyncClient
from temporalio.common import SearchAttributePair

from dashboard import audit, extend
from dashboard.access import Subject, Viewer
from dashboard.live import regions
from dashboard.live.regions import Seen
from dashboard.reads import breakers, overview
from dashboard.visibility import conditions
from dashboard.visibility.rows import Row
from dashboard.visibility.scan import Scan
from orders.attributes import ORDER_AMOUNT
from tests.dashboard.sidings import stand
from tests.support import eventually
from workers.client.errors import TemporalUnavailable
from workers.contracts import CircuitStatus, Money

NOW = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)
STAGES = ("received", "approval", "charging", "shipping", "delivered")
LINE = extend.Line(
    "Parcel", "Parcels", tuple(extend.Stage(name, name.title()) for name in STAGES), {"charging": "payments"}
)


@pytest.fixture(autouse=True)
def forgotten():
    regions.forget()


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setitem(extend.lines(), "Parcel", LINE)
    return LINE


def row(name: str, stage: str, deadline: datetime | None = None, minor: int = 1000, **attributes: str) -> Row:
    condition = conditions.derive("Parcel", 1, attributes)
    s, word = conditions.shown(condition, 1)
    return Row(
        workflow_id=name,
        run_id="r",
        workflow_type="Parcel",
        status=1,
        status_name="Running",
        condition=condition,
        s=s,
        word=word,
        stage=stage,
        waiting_for=attributes.get("WaitingFor", ()),
        deadline=deadline,
        amount=Money(minor=minor, currency="EUR"),
        customer="",
        attributes=dict(attributes),
        memo={},
        start_time=NOW,
        close_time=None,
        url=f"/{name}",
    )


def card(state: str) -> breakers.Breaker:
    status = CircuitStatus(state=state, dependency="payments", next_probe_at=NOW)
    return breakers.Breaker(row("breaker-payments", ""), "payments", state, Seen(status, NOW), None)


def track(*rows: Row, cards: dict[str, breakers.Breaker] | None = None, counts=(412, 38)) -> overview.Track:
    return overview._track(LINE, Scan([*rows], NOW, True), cards or {}, [*counts])


def counted(stations: list[overview.Station]) -> dict[str, int]:
    return {station.label: station.total.count for station in stations}


def test_the_way_back_is_not_counted_on_the_way_forward(line):
    found = track(
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
    assert [station.at for station in found.back] == [3, 2, 1]


def test_a_station_shows_the_worst_that_stands_there(line):
    soon = datetime.now(UTC) + timedelta(minutes=5)
    found = track(
        row("a", "received"),
        row("b", "approval", deadline=soon, WaitingFor=("approval",)),
        row("c", "approval", WaitingFor=("approval",)),
        row("d", "charging", WaitingFor=("breaker", "breaker:payments")),
        row("e", "charging"),
    )
    assert [(station.s, station.sub) for station in found.forward] == [
        ("run", ""),
        ("wait", "1 due soon"),
        ("stop", "1 held"),
        ("rest", ""),
        ("done", ""),
    ]


@pytest.mark.parametrize(("state", "shown"), [("OPEN", True), ("HALF_OPEN", True), ("CLOSED", False)])
def test_a_signal_stands_before_the_guarded_stage_unless_calls_pass(line, state, shown):
    held = row("d", "charging", WaitingFor=("breaker", "breaker:payments"), minor=1250)
    charging = track(held, cards={"payments": card(state)}).forward[2]
    assert (charging.breaker is not None) == shown
    assert charging.held.sums == {"EUR": 1250}
    assert charging.loop


def test_each_station_leads_to_the_list_of_its_runs(line):
    found = track(row("d", "charging"))
    assert "v=charging" in found.forward[2].total.url
    assert "condition=stuck" in found.back[1].total.url
    assert all("type=Parcel" in station.total.url for station in found.forward + found.back)


def test_what_cannot_be_counted_is_not_a_zero(line):
    found = track(counts=(None, None))
    assert not found.forward[-1].counted
    assert not found.back[-1].counted


@pytest.fixture
def tenant(client, settings):
    """A tenant of its own, so that the runs of other tests are not counted."""
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    return f"tenant-{uuid.uuid4().hex[:8]}"


async def test_the_lines_are_counted_within_the_tenant(client, queue, tenant):
    viewer = Viewer("vera", frozenset({"viewer"}), tenant=tenant)
    order = {"workflow_type": "OrderWorkflow", "tenant": tenant, "memo": {"currency": "EUR"}}
    extra = (SearchAttributePair(ORDER_AMOUNT, 640.0),)
    await stand(client, queue, f"{tenant}~1", stage="received", **order)
    stuck = {"stage": "shipping", "saga_state": "stuck", "waiting_for": "operator", "extra": extra}
    await stand(client, queue, f"{tenant}~2", **stuck, **order)
    await stand(client, queue, f"{tenant}-x", stage="received", **{**order, "tenant": "another"})

    async def both():
        seen = await overview.read(viewer, [])
        return seen.value if seen.value and len(seen.value.totals) == 2 else None

    found = await eventually(both)
    (orders,) = (item for item in found.tracks if item.workflow_type == "OrderWorkflow")
    assert orders.forward[0].total.count == 1
    assert [item.workflow_id for item in found.stuck] == [f"{tenant}~2"]
    assert found.totals["stuck"].sums == {"EUR": 64000}


@pytest.mark.django_db(transaction=True)
async def test_the_page_links_what_needs_a_person(client, queue, viewer_user):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    name = f"order-{uuid.uuid4().hex}"
    attributes = {"stage": "shipping", "saga_state": "stuck", "waiting_for": "operator"}
    await stand(client, queue, name, workflow_type="OrderWorkflow", **attributes)

    async def shown():
        text = (await browser.get("/regions/overview/")).content.decode()
        return text if "Needs a person" in text and "Stuck" in text else ""

    text = await eventually(shown)
    assert "<html" not in text
    assert "Just now" not in text  # viewers may not read the audit log
    page = (await browser.get("/")).content.decode()
    assert 'aria-current="page"' in page
    assert 'id="overview"' in page


@pytest.mark.django_db(transaction=True)
async def test_operators_see_what_was_done_last(client, operator_user):
    browser = AsyncClient()
    await browser.aforce_login(operator_user)
    anna = Viewer("anna", frozenset({"approver"}))
    intent = await audit.intend(anna, "reject", Subject("order-<7>", "r", None), decision_id="d", reason="no")
    await audit.conclude(intent, "applied", "Rejected.")
    text = (await browser.get("/")).content.decode()
    assert "order-&lt;7&gt;" in text
    assert "anna: reject" in text


@pytest.mark.django_db(transaction=True)
async def test_without_temporal_the_page_still_comes(client, viewer_user, monkeypatch):
    async def away():
        raise TemporalUnavailable("Temporal cannot be reached.")

    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    for module in ("overview", "breakers", "approvals"):
        monkeypatch.setattr(f"dashboard.reads.{module}.get_client", away)
    answer = await browser.get("/")
    assert answer.status_code == 200
    assert "Temporal cannot be reached." in answer.content.decode()
