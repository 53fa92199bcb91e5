"""What alerts bring to workers."""

from __future__ import annotations

from workers.patterns.alerts.activities import raise_alert
from workers.registry.plugins import Plugin

plugin = Plugin("alerts")
# On every queue: an alert must not wait behind the work of another one.
plugin.everywhere(raise_alert)
