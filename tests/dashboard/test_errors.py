"""Every error is a page with a way back, and htmx keeps what it shows."""

from __future__ import annotations

import pytest
from django.test import AsyncClient, RequestFactory

from dashboard.web import errors
from tests.support import HTMX
from workers.client.errors import TemporalUnavailable

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
