"""Who uses the console, as fixtures; and a database that tests can empty."""

from __future__ import annotations

import importlib

import pytest
from django.contrib.auth.models import User
from django.db import connection

from dashboard import roles
from dashboard.access import Viewer
from devtools.management.commands.demo_users import person

__all__ = [
    "admin_user",
    "approver_user",
    "django_db_setup",
    "nobody_user",
    "operator_user",
    "viewer_user",
    "viewers",
]

append_only = importlib.import_module("dashboard.migrations.0003_audit_signed")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Tests empty the tables after each other, which the triggers of the audit log refuse: they are off, but
    in the tests that are about them."""
    with django_db_blocker.unblock(), connection.schema_editor() as editor:
        append_only.unguard(None, editor)


def _user(name: str, *groups: str) -> User:
    roles.ensure()
    return person(name, groups)[0]


@pytest.fixture
def nobody_user(db) -> User:
    return _user("nora")


@pytest.fixture
def viewer_user(db) -> User:
    return _user("vera", "viewer")


@pytest.fixture
def operator_user(db) -> User:
    return _user("otto", "operator")


@pytest.fixture
def approver_user(db) -> User:
    return _user("anna", "approver")


@pytest.fixture
def admin_user(db) -> User:
    return _user("ada", "admin")


@pytest.fixture
def viewers() -> dict[str, Viewer]:
    """The same people for tests below the web: no user, no database."""
    names = {"nobody": "nora", "viewer": "vera", "operator": "otto", "approver": "anna", "admin": "ada"}
    return {
        role: Viewer(name, frozenset() if role == "nobody" else frozenset({role}))
        for role, name in names.items()
    }
