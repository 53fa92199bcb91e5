"""The breakers page: what each says, what each holds, and what is shown when one does not answer."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.test import AsyncClient
from temporalio.common import SearchAttributePair

from dashboard.access import Viewer
from dashboard.live import cached_read
from dashboard.pages.breakers import read as breakers
from dashboard.temporal import amounts_in_words
from orders.attributes import ORDER_AMOUNT
from tests.dashboard.factories import CannedAnswers, start_run
from tests.dashboard.flows import Resolvable
from tests.support import HTMX, eventually
from workers.client.errors import TemporalUnavailable

OTTO = Viewer("otto", frozenset({"operator"}))


@pytest.fixture
def dependency(client):
    """A dependency that nobody else knows; snapshots of other tests are forgotten."""
    cached_read.forget()
    return f"dep-{uuid.uuid4().hex[:8]}"


def circuit(dependency: str, state: str = "OPEN", **more) -> dict[str, object]:
    return {"circuit": {"state": state, "dependency": dependency, "threshold": 5, "failure_count": 5, **more}}


async def start_breaker(client, queue, dependency: str, **more) -> None:
    """One of our own type that no worker runs."""
    name, kind = f"breaker-{dependency}", breakers.BREAKER_TYPE
    await start_run(client, queue, name, workflow_type=kind, circuit_state="OPEN", **more)


async def card(dependency: str, viewer: Viewer = OTTO) -> breakers.Breaker | None:
    seen = await breakers.read(viewer)
    assert seen.value
    return next((item for item in seen.value.cards if item.dependency == dependency), None)


def look(card: breakers.Breaker) -> tuple[str, str]:
    return card.view.tone, card.view.word


async def test_an_open_breaker_says_why_and_what_it_holds(client, queue, worker, dependency):
    probe = datetime.now(UTC) + timedelta(seconds=134)
    history = [
        {"at": "2026-11-21T03:00:00Z", "state": "OPEN", "why": "first"},
        {"at": "2026-11-21T03:05:00Z", "state": "HALF_OPEN", "why": "later"},
    ]
    answers = circuit(dependency, next_probe_at=probe.isoformat(), transitions=history)
    amount = (SearchAttributePair(ORDER_AMOUNT, 12.5),)
    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, f"breaker-{dependency}", answers=answers, circuit_state="OPEN")
        for at in range(2):
            await start_run(
                client, queue, f"order-{dependency}-{at}", workflow_type="OrderWorkflow", extra=amount,
                waiting_for=f"breaker:{dependency}", stage="charging", memo={"currency": "EUR"},
            )  # fmt: skip
        found = await eventually(lambda: _answered(dependency, held=2))
    assert look(found) == ("stop", "Open")
    assert found.view.probes_at == probe
    assert [(word, change.why) for word, change in found.view.transitions] == [
        ("Half open", "later"),
        ("Open", "first"),
    ]
    assert found.held.sums == {"EUR": 2500}
    held = [run async for run in client.list_workflows(f"WorkflowId STARTS_WITH 'order-{dependency}'")]
    assert await amounts_in_words(held) == "€25.00"  # what the log line of the breaker says
    assert f"breaker%3A{dependency}" in found.held.url


async def _answered(dependency: str, held: int = 0) -> breakers.Breaker | None:
    found = await card(dependency)
    ready = found and found.answer.value and (found.held.count if found.held else 0) == held
    return found if ready else None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"state": "HALF_OPEN"}, ("wait", "Half open")),
        ({"state": "OPEN", "forced": {"state": "OPEN", "by": "jon"}}, ("rest", "Forced open")),
        ({"state": "MELTED"}, ("rest", "No answer")),
        ({"state": "CLOSED", "threshold": "many"}, ("done", "Closed")),
        ("nonsense", ("rest", "No answer")),
    ],
)
async def test_half_an_answer_draws_half_a_card(client, queue, worker, dependency, answer, expected):
    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, f"breaker-{dependency}", answers={"circuit": answer}, circuit_state="")
        found = await eventually(lambda: _answered(dependency))
    assert look(found) == expected


async def test_without_a_worker_the_state_comes_from_the_list(client, queue, dependency):
    await start_breaker(client, queue, dependency)
    found = await eventually(lambda: card(dependency))
    assert found.view.word == "Open"
    assert found.answer.notice
    assert found.status.threshold == 0


async def test_an_attribute_alone_draws_no_card(client, queue, worker, dependency):
    """Of another type, only what declares the query of the contract."""
    answers = circuit(dependency)
    async with worker(queue, workflows=[CannedAnswers, Resolvable]):
        for kind, name in (("Resolvable", "no-breaker"), ("CannedAnswers", "breaker")):
            await start_run(
                client,
                queue,
                f"{name}-{dependency}",
                answers=answers,
                circuit_state="OPEN",
                workflow_type=kind,
            )

        async def both_listed():
            query = f"CircuitState = 'OPEN' AND TaskQueue = '{queue}'"
            return (await client.count_workflows(query)).count == 2

        await eventually(both_listed)
        await eventually(lambda: card(dependency))
        cached_read.forget()
        seen = await breakers.read(OTTO)
    ids = [item.row.workflow_id for item in seen.value.cards]
    assert f"breaker-{dependency}" in ids
    assert f"no-breaker-{dependency}" not in ids


async def test_breakers_of_another_tenant_stay_there(client, queue, dependency, settings):
    await start_breaker(client, queue, dependency, tenant="acme")
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    roles = frozenset({"viewer"})
    await eventually(lambda: card(dependency, Viewer("ann", roles, tenant="acme")))
    assert await card(dependency, Viewer("ben", roles, tenant="umbra")) is None


@pytest.mark.django_db(transaction=True)
async def test_the_page_and_its_region_show_the_card(client, queue, worker, dependency, viewer_user):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    hostile = circuit(dependency, last_error="<script>alert(1)</script>")
    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, f"breaker-{dependency}", answers=hostile, circuit_state="OPEN")
        await eventually(lambda: _answered(dependency))
        page = (await browser.get("/ns/default/breakers/")).content.decode()
        region = (await browser.get("/ns/default/breakers/", headers=HTMX)).content.decode()
    for text in (page, region):
        assert f'id="breaker-{dependency}"' in text
        assert "opens at 5" in text
        assert "<script>alert" not in text
    assert "<html" in page
    assert region.startswith('<div id="breakers"')


@pytest.mark.django_db(transaction=True)
async def test_temporal_away_shows_what_was_last_seen(client, queue, dependency, viewer_user, monkeypatch):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    await start_breaker(client, queue, dependency)
    await eventually(lambda: card(dependency, Viewer("vera", frozenset({"viewer"}))))

    async def away():
        raise TemporalUnavailable("Temporal cannot be reached.")

    monkeypatch.setattr("dashboard.access.get_client", away)

    async def told():
        text = (await browser.get("/ns/default/breakers/")).content.decode()
        return text if "Temporal cannot be reached." in text else ""

    text = await eventually(told)
    assert f'id="breaker-{dependency}"' in text
    assert "what was last seen" in text
    assert "data-stale" in text
    cached_read.forget()
    text = await told()
    assert "Nothing has been seen" in text


@pytest.mark.django_db(transaction=True)
async def test_strangers_are_sent_to_the_login(client):
    page = await AsyncClient().get("/ns/default/breakers/")
    assert page.status_code == 302
    region = await AsyncClient().get("/ns/default/breakers/", headers=HTMX)
    assert region.status_code == 401
    assert region.headers["HX-Reswap"] == "none"
