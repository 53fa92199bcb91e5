"""The ground floor as a Django app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, register


class WorkersConfig(AppConfig):
    name = "workers"


@register(Tags.compatibility)
def runworker_is_ours(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Channels has a command named runworker too, and of two the earlier app in INSTALLED_APPS wins."""
    names = [config.name for config in apps.get_app_configs()]
    if "channels" in names and "workers" in names and names.index("channels") < names.index("workers"):
        hint = "Put 'workers' before 'channels' in INSTALLED_APPS."
        return [
            Error("The runworker command of Channels hides that of workers.", hint=hint, id="workers.E001")
        ]
    return []
