"""What the end of a guarded call says about its dependency: that it failed, that it answered, or nothing."""

from __future__ import annotations

import urllib.error

import httpx
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError

from workers.contracts import CIRCUIT_OPEN
from workers.deadlines import ATTEMPT_EXPIRED
from workers.patterns.breaker.names import NEEDS_KEY, NOT_ALLOWED, UNAVAILABLE

FAILURES: tuple[type[BaseException], ...] = (OSError, httpx.TransportError)
"""Connections, name resolution, TLS and time-outs of the standard library, and of httpx. Those of requests
are OSErrors as well; a status (`raise_for_status`) counts by its number."""

_OURS: tuple[type[BaseException], ...] = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ChildProcessError,
    ProcessLookupError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
"""Kinds of the above that are mistakes on this side."""

_NOT_CALLED = {CIRCUIT_OPEN, NOT_ALLOWED, NEEDS_KEY, ATTEMPT_EXPIRED}
"""Types of ApplicationErrors that are raised before the dependency is called."""

_REQUESTS = "requests.exceptions."
_REQUESTS_FAILURES = {f"{_REQUESTS}{name}" for name in ("ConnectionError", "Timeout", "ChunkedEncodingError")}
_BUSY = {408, 425, 429}


def dependency_failed(
    error: BaseException,
    failures: tuple[type[BaseException], ...] | None = None,
    details: ActivityCancellationDetails | None = None,
) -> bool | None:
    """True: the dependency failed. False: it answered, if only with a refusal. None: this says nothing of it.

    failures: instead of `FAILURES`.
    details: why the activity was cancelled, if it was. A time-out is a failure; what a pause, a
        reset, a request or a worker's shutdown interrupted says nothing.
    """
    if details is not None:
        return True if details.timed_out else None
    if isinstance(error, ApplicationError):
        if error.type in _NOT_CALLED:
            return None
        return error.type == UNAVAILABLE or (
            error.__cause__ is not None and _failed(error.__cause__, failures) is True
        )
    return _failed(error, failures)


def _failed(error: BaseException, failures: tuple[type[BaseException], ...] | None) -> bool | None:
    if failures is not None:
        return True if isinstance(error, failures) else None
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _BUSY
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if f"{_REQUESTS}RequestException" in names:
        return True if names & _REQUESTS_FAILURES else None
    return True if isinstance(error, FAILURES) and not isinstance(error, _OURS) else None


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of httpx, requests or urllib carries."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
