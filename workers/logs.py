"""What workers say of failures: a line for those that were raised on purpose, a traceback for the others."""

from __future__ import annotations

import logging

from temporalio.exceptions import ApplicationError


class OnPurpose(logging.Filter):
    """For the logger `temporalio.activity`, which tells of each failed attempt: an ApplicationError is an
    answer (declined, not available), and where it was raised tells nobody anything."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplicationError):
            about = getattr(record, "temporal_activity", {})
            record.msg = "%s of %s, attempt %s: %s"
            names = ("activity_type", "workflow_id", "attempt")
            record.args = (*(about.get(name, "?") for name in names), error)
            record.exc_info = record.exc_text = None
        return True
