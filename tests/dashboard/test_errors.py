"""Every error is a page with a way back, and htmx keeps what it shows."""

from __future__ import annotations

import logging
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, ProgrammingError
from django.test import AsyncClient, Client, RequestFactory
from django.urls import reverse

from dashboard import asgi
from dashboard.models import AuditEntry
from dashboard.pages.workers import read as queues
from dashboard.web import errors
from dashboard.web.logs import database_away
from orders import api as orders_api
from tests.support import HTMX, read_only
from workers.client.errors import (
    AnswerTooLarge,
    BadQuery,
    CallFailed,
    NoAnswer,
    QueryFailed,
    TemporalUnavailable,
)
from workers.conf import ConfigurationError
from workers.process.logs import Plain

pytestmark = pytest.mark.django_db(transaction=True)


async def test_no_such_page(async_client):
    response = await async_client.get("/nowhere/")
    text = response.content.decode()
    assert response.status_code == 404
    assert "Not found" in text
    assert 'href="/ns/default/workflows/"' in text
    assert response["Content-Security-Policy"]


async def test_without_a_role_the_page_says_whom_to_ask(async_client, nobody_user):
    await async_client.aforce_login(nobody_user)
    response = await async_client.get("/audit/")
    assert response.status_code == 403
    assert "Ask an administrator" in response.content.decode()


async def test_a_form_without_its_token(viewer_user):
    strict = AsyncClient(enforce_csrf_checks=True)
    response = await strict.post("/login/", {"username": "a", "password": "b"})
    assert response.status_code == 403
    assert "This form is not valid any more" in response.content.decode()


def test_temporal_away_offers_to_try_again(rf):
    request = rf.get("/ns/default/workflows/")
    request.session = {}
    response = errors.temporal_away(request, TemporalUnavailable("Temporal cannot be reached."))
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert 'href="/ns/default/workflows/"' in response.content.decode()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadQuery("invalid query"), 400),
        (QueryFailed("The workflow failed."), 502),
        (AnswerTooLarge("It is too large."), 502),
        (CallFailed("Temporal failed."), 503),
        (NoAnswer("No worker answered."), 504),
    ],
)
async def test_what_a_view_raises_of_temporal_is_a_page(
    monkeypatch, async_client, viewer_user, error, status
):
    async def failing(*_, **__):
        raise error

    monkeypatch.setattr(queues, "read", failing)
    await async_client.aforce_login(viewer_user)
    response = await async_client.get(reverse("workers", args=["default"]))
    text = response.content.decode()
    assert response.status_code == status
    assert error.message in text
    assert f'href="{reverse("workers", args=["default"])}"' in text


async def test_certificates_that_cannot_be_read_are_a_page_and_a_line(
    monkeypatch, async_client, viewer_user, caplog
):
    async def failing(*_, **__):
        raise ConfigurationError(["TEMPORAL_TLS_CERT: /secret/place cannot be read."])

    monkeypatch.setattr(queues, "read", failing)
    await async_client.aforce_login(viewer_user)
    response = await async_client.get(reverse("workers", args=["default"]))
    assert response.status_code == 503
    assert "cannot be used; its log says why" in unescape(response.content.decode())
    assert "/secret/place" not in response.content.decode()
    assert "/secret/place cannot be read" in caplog.text


async def test_a_server_whose_certificates_cannot_be_read_does_not_start(monkeypatch):
    async def failing():
        raise ConfigurationError(["TEMPORAL_TLS_CERT: it cannot be read."])

    monkeypatch.setattr(asgi, "get_client", failing)
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    await asgi.lifespan({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "TEMPORAL_TLS_CERT" in sent[0]["message"]


def test_htmx_swaps_nothing_in(rf):
    request = rf.get("/ns/default/", headers=HTMX)
    request.session = {}
    assert errors.no_such_run(request, "order-1")["HX-Reswap"] == "none"


def test_ids_are_escaped(rf):
    request = rf.get("/ns/default/")
    request.session = {}
    assert b"<img" not in errors.no_such_run(request, "<img src=x>").content


def test_when_even_the_page_fails_a_bare_one_comes(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no template")

    monkeypatch.setattr(errors, "render", broken)
    response = errors.server_error(RequestFactory().get("/ns/default/"))
    assert response.status_code == 500
    assert b"Something broke" in response.content


@pytest.fixture
def browser():
    """A browser that gets the page of an error; the database may be written again after the test."""
    yield Client(raise_request_exception=False)
    read_only(False)


def test_a_database_that_takes_no_write_is_one_sentence_and_one_line(browser, approver_user, caplog):
    browser.force_login(approver_user, backend="django.contrib.auth.backends.ModelBackend")
    before = AuditEntry.objects.count()
    read_only(True)
    with caplog.at_level(logging.WARNING):
        response = browser.post("/logout/")
    read_only(False)
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert "locked, full or away" in response.content.decode()
    [line] = [record for record in caplog.records if record.name == "django.request"]
    text = Plain().format(line)
    assert response["X-Request-ID"] in text
    assert "\n" not in text
    assert AuditEntry.objects.count() == before


def test_the_api_says_it_in_json(browser, monkeypatch):
    def full(*_, **__):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(orders_api.Order.objects, "filter", full)
    user = User.objects.create_superuser("root")
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    response = browser.get("/api/orders/order-1")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "locked, full or away" in response.json()["detail"]


@pytest.mark.parametrize("mistake", [IntegrityError("x"), ProgrammingError("x"), ValueError("x")])
def test_a_mistake_of_ours_is_no_database_that_is_away(mistake):
    assert not database_away(mistake)
