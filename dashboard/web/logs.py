"""One line in the log for a request that failed because the database is away."""

from __future__ import annotations

import logging

from django.db import DatabaseError, DataError, IntegrityError, NotSupportedError, ProgrammingError

from dashboard.errors import NotRecorded
from dashboard.web.middleware import request_id

MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


def database_away(error: BaseException | None) -> bool:
    """Is this a database that is locked, full, read-only or gone? Mistakes of our own are none of these."""
    if isinstance(error, NotRecorded):
        error = error.__cause__
    return isinstance(error, DatabaseError) and not isinstance(error, MISTAKES)


class DatabaseErrors(logging.Filter):
    """For the logger `django.request`: a sentence with the id of the request. Its traceback says the same
    each time."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if database_away(error):
            path = getattr(getattr(record, "request", None), "path", "")
            record.msg = "Request %s of %s failed: the database says %s."
            record.args = (request_id.get(), path, f"{error}".splitlines()[0][:200])
            record.exc_info = record.exc_text = None
        return True
