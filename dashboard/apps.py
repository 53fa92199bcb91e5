"""The console as a Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DashboardConfig(AppConfig):
    """Finds what apps registered, and sees to the role groups after each migrate."""

    name = "dashboard"

    def ready(self) -> None:
        from dashboard import extend, roles

        extend.discover()
        post_migrate.connect(roles.ensure, sender=self, dispatch_uid="dashboard.roles")
