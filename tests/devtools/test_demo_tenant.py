"""With tenants, the demo's users and what the demo starts belong to one: the platform's has no members."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from dashboard.access import viewer_from
from devtools.management.commands import up
from devtools.management.commands.demo_users import PEOPLE


@pytest.fixture
def with_tenants(settings: Any) -> None:
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})


@pytest.mark.django_db
@pytest.mark.parametrize(("given", "tenant"), [("default", "demo"), ("acme", "acme")])
def test_the_demo_users_belong_to_one(settings: Any, with_tenants: None, given: str, tenant: str) -> None:
    settings.WORKERS = settings.WORKERS.model_copy(update={"tenant": given})
    call_command("demo_users")
    assert {viewer_from(user).tenant for user in User.objects.filter(username__in=PEOPLE)} == {tenant}


@pytest.mark.django_db
def test_without_tenants_they_belong_to_none() -> None:
    call_command("demo_users")
    assert {viewer_from(user).tenants for user in User.objects.filter(username__in=PEOPLE)} == {()}


@pytest.mark.parametrize(("address", "tenant"), [("", "demo"), ("127.0.0.1:1", "")])
def test_what_the_demo_starts_belongs_to_the_same_one(
    with_tenants: None, monkeypatch: pytest.MonkeyPatch, address: str, tenant: str
) -> None:
    """On the server of others nothing is started, and nothing is set."""

    async def run(plan: Any) -> int:
        return 0

    monkeypatch.setattr(up, "_run", run)
    monkeypatch.setenv("TENANT_ID", "")  # as it was, once the test has ended
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(SystemExit):
        call_command("up")
    assert os.environ["TENANT_ID"] == tenant
