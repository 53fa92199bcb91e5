"""An alert: a workflow, or the platform for it, asks for a person."""

from __future__ import annotations

from datetime import datetime

from workers.contracts.base import Contract

RAISE_ALERT = "raise_alert"
"""The activity that takes an Alert. Raising the same `alert_id` again changes nothing."""


class Alert(Contract):
    """`alert_id` makes it one alert, however often it is raised. `at`: workflow time."""

    alert_id: str
    title: str
    detail: str = ""
    severity: str = "error"
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    step: str = ""
    at: datetime | None = None
