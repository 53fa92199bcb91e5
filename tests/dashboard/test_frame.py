"""The frame of every page: the band of production, the theme, the badges, and what it never asks."""

from __future__ import annotations

import pytest
from django.test import AsyncClient

from dashboard.access import Viewer
from dashboard.live import cached_read

pytestmark = pytest.mark.django_db(transaction=True)
VERA = Viewer("vera", frozenset({"viewer"}))


@pytest.fixture
async def browser(client, viewer_user):
    cached_read.forget()
    found = AsyncClient()
    await found.aforce_login(viewer_user)
    return found


@pytest.mark.parametrize(
    ("environment", "band"),
    [("production", True), ("prod", True), ("production-eu", True), ("staging", False)],
)
async def test_production_wears_a_band(browser, settings, environment, band):
    settings.WORKERS = settings.WORKERS.model_copy(update={"environment": environment})
    text = (await browser.get("/ns/default/breakers/")).content.decode()
    assert ('class="band"' in text) == band
    assert environment in text


@pytest.mark.parametrize(("cookie", "shown"), [("dark", True), ("light", True), ('"><script>', False)])
async def test_the_theme_is_a_cookie_that_only_names_a_theme(browser, cookie, shown):
    browser.cookies["theme"] = cookie
    text = (await browser.get("/ns/default/breakers/")).content.decode()
    assert (f'data-theme="{cookie}"' in text) == shown
    assert "><script>" not in text


async def test_badges_come_from_what_was_read_and_grow_old(browser, monkeypatch):
    cached_read.set_badges(VERA, approvals=3)
    text = (await browser.get("/ns/default/workflows/")).content.decode()
    assert "waiting</span>" in text
    monkeypatch.setattr(cached_read, "BADGES_KEPT_SECONDS", -1.0)
    text = (await browser.get("/ns/default/workflows/")).content.decode()
    assert "waiting</span>" not in text


async def test_no_badge_means_zero_and_a_count_that_is_not_known_is_said(browser):
    cached_read.forget()
    text = (await browser.get("/ns/default/workflows/")).content.decode()
    assert text.count("not counted in the last minute</span>") == 3
    cached_read.set_badges(VERA, approvals=0, open=0, unpolled=0)
    text = (await browser.get("/ns/default/workflows/")).content.decode()
    assert 'class="badge"' not in text


async def test_who_is_not_signed_in_sees_no_navigation(client):
    text = (await AsyncClient().get("/login/")).content.decode()
    assert 'aria-label="Pages"' not in text
    assert 'href="#main"' in text


async def test_signing_out_is_a_post_with_a_token(browser):
    text = (await browser.get("/ns/default/breakers/")).content.decode()
    assert '<form method="post" action="/logout/"><input type="hidden" name="csrfmiddlewaretoken"' in text
    assert "X-CSRFToken" in text
