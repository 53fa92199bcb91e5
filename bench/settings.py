"""Points this process to servers that were started after Django was set up."""

from __future__ import annotations

from django.conf import settings

from workers.conf import Conf


def point(**confs: Conf) -> None:
    """Put typed settings of apps in force, by the name of the app."""
    for app, conf in confs.items():
        setattr(settings, app.upper(), conf)
