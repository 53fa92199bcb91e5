"""`manage.py prune`: what is old goes, what an open run may need stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import override_settings
from temporalio.api.common.v1 import Payload

from workers.management.commands import prune
from workers.models import AppliedTransaction
from workers.payloads import claims
from workers.payloads.claims import DjangoStorageDriver

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path):
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    with override_settings(STORAGES={**storages.backends, "payloads": backend}):
        yield tmp_path


def stored(text: str, days_ago: float = 0) -> str:
    """The name of the claim of a payload, as it was stored so many days ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "datetime", Mock(now=lambda zone: NOW - timedelta(days=days_ago)))
        [claim] = asyncio.run(DjangoStorageDriver().store(None, [Payload(data=text.encode())]))
    return claim.claim_data["name"]


def nothing_open(monkeypatch) -> None:
    async def none(before: datetime) -> str:
        return ""

    monkeypatch.setattr(prune, "open_since", none)


def test_old_records_and_claims_go_and_young_ones_stay(store, monkeypatch, capsys):
    nothing_open(monkeypatch)
    names: list[str] = []
    for name, days in (("old", 100), ("young", 20)):
        AppliedTransaction.objects.create(transaction_id=name, operation="x", digest="d")
        AppliedTransaction.objects.filter(transaction_id=name).update(applied_at=NOW - timedelta(days=days))
        names.append(stored(name, days))
    secret = store / "secrets/ab/abc"
    secret.parent.mkdir(parents=True)
    secret.write_text("a chain of runs may hand its reference on for years")
    call_command("prune", days=60)
    assert "1 records of transactions and 1 claims were deleted" in capsys.readouterr().out
    assert [*AppliedTransaction.objects.values_list("transaction_id", flat=True)] == ["young"]
    left = {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}
    assert left == {names[1], "secrets/ab/abc"}


def test_a_claim_that_is_sent_again_does_not_rely_on_an_old_file(store, monkeypatch):
    """The file of the first sending is pruned by its age; the later history must not hang on it."""
    nothing_open(monkeypatch)
    first, again, later = stored("again", 100), stored("again", 100), stored("again")
    assert first == again, "within a week nothing is stored twice"
    call_command("prune", days=60)
    assert [(store / name).exists() for name in (first, later)] == [False, True]


def test_it_keeps_all_while_an_older_run_is_open(store, monkeypatch):
    AppliedTransaction.objects.create(transaction_id="t", operation="x", digest="d")
    AppliedTransaction.objects.update(applied_at=NOW - timedelta(days=100))

    async def one(before: datetime) -> str:
        return "order-7"

    monkeypatch.setattr(prune, "open_since", one)
    with pytest.raises(CommandError, match="order-7"):
        call_command("prune", days=60)
    assert AppliedTransaction.objects.count() == 1


def test_too_few_days_are_refused():
    with pytest.raises(CommandError, match="at least 30"):
        call_command("prune", days=7)


async def test_the_oldest_open_run_is_found(client, queue):
    handle = await client.start_workflow("Waiting", id=f"open-{queue}", task_queue=queue)
    from tests.support import eventually

    assert await eventually(lambda: prune.open_since(datetime.now(UTC)))
    assert await prune.open_since(NOW - timedelta(days=30)) == ""
    await handle.terminate()
