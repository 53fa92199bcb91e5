"""The ground floor as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    """Registers the system checks."""

    name = "workers"

    def ready(self) -> None:
        from workers import checks  # noqa: F401 (registers on import)
