"""The development tools as a Django app, so that manage.py finds their commands."""

from __future__ import annotations

from django.apps import AppConfig


class DevtoolsConfig(AppConfig):
    """Commands only; it has neither models nor pages."""

    name = "devtools"
