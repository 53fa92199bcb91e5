"""What happens to accounts and switches is in the audit log, by the person who did it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError
from django.test import Client

from dashboard.audit import accounts, log
from dashboard.models import AuditEntry
from workers.models import FeatureFlag

pytestmark = pytest.mark.django_db(transaction=True)


def events() -> list[tuple[str, str, str]]:
    return [(row.actor, row.action, row.detail) for row in AuditEntry.objects.order_by("id")]


@pytest.fixture
def ada(admin_user):
    """A browser in which an administrator is signed in; what led there is not looked at."""
    browser = Client()
    browser.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    AuditEntry.objects.all().delete()
    return browser


def test_a_login_is_recorded_with_its_address(viewer_user):
    viewer_user.set_password("correct horse")
    viewer_user.save()
    form = {"username": "vera", "password": "correct horse"}
    Client(REMOTE_ADDR="192.0.2.7").post("/login/", form)
    assert events()[-1] == ("vera", "login", "from 192.0.2.7")
    assert AuditEntry.objects.latest("id").request_id


def test_the_audit_page_shows_events_and_filters_by_them(ada):
    log.record("vera", "login", "from 192.0.2.7")
    text = ada.get("/audit/", {"action": "login"}).content.decode()
    assert "from 192.0.2.7" in text
    assert "<option selected>login</option>" in text


def test_a_lock_is_recorded_once():
    browser = Client(REMOTE_ADDR="192.0.2.7")
    for _ in range(8):
        browser.post("/login/", {"username": "vera", "password": "wrong"})
    assert events() == [("vera", "locked out", "from 192.0.2.7")]


def test_roles_are_recorded_however_they_change(viewer_user):
    approver = Group.objects.get(name="approver")
    AuditEntry.objects.all().delete()
    viewer_user.groups.add(approver)
    viewer_user.groups.remove(approver)
    approver.user_set.add(viewer_user)
    viewer_user.groups.clear()
    assert events() == [
        ("command line", "roles changed", "vera: added to approver"),
        ("command line", "roles changed", "vera: removed from approver"),
        ("command line", "roles changed", "vera: added to approver"),
        ("command line", "roles changed", "vera: removed from approver, viewer"),
    ]


def test_a_role_that_an_administrator_gives_names_the_administrator(ada, viewer_user):
    AuditEntry.objects.all().delete()
    form = {
        "username": "vera",
        "is_active": "on",
        "is_superuser": "on",
        "groups": [Group.objects.get(name="admin").pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00",
    }
    answer = ada.post(f"/admin/auth/user/{viewer_user.pk}/change/", form)
    assert answer.status_code == 302, answer.content
    found = events()
    assert ("ada", "roles changed", "vera: added to admin") in found
    assert any(
        actor == "ada" and action == "admin changed" and "vera" in detail and "Superuser status" in detail
        for actor, action, detail in found
    )


def test_a_switch_is_recorded_with_its_value(ada):
    ada.post("/admin/workers/featureflag/add/", {"name": "new-checkout", "enabled": "on"})
    FeatureFlag.objects.all().delete()
    assert events()[0] == ("ada", "switch set", "feature flag new-checkout for all tenants: on")
    assert events()[-1] == ("command line", "switch removed", "feature flag new-checkout for all tenants: on")


def test_a_change_that_cannot_be_recorded_is_not_made(viewer_user, monkeypatch):
    def full(*_: object) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(accounts.log, "record", full)
    with pytest.raises(DatabaseError):
        viewer_user.groups.add(Group.objects.get(name="admin"))
    monkeypatch.undo()
    assert not User.objects.get(username="vera").groups.filter(name="admin").exists()
    assert log.verify()[2] is None
