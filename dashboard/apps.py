"""The console as a Django app."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate

from dashboard.conf import conf
from dashboard.private_files import private_database


class DashboardConfig(AppConfig):
    """Finds what apps registered, and sees to the role groups after each migrate."""

    name = "dashboard"

    def ready(self) -> None:
        from dashboard import checks, extend, roles  # noqa: F401 - checks register themselves
        from dashboard.audit import accounts

        database = settings.DATABASES["default"]
        if database["ENGINE"].endswith("sqlite3"):
            private_database(Path(database["NAME"]), conf().state_dir)
        extend.discover()
        accounts.connect()
        post_migrate.connect(roles.ensure, sender=self, dispatch_uid="dashboard.roles")
