"""What the end of a guarded call says about its dependency."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.error
from email.message import Message

import httpx
import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError

from workers.contracts import CIRCUIT_OPEN
from workers.deadlines import ATTEMPT_EXPIRED
from workers.patterns.breaker.failures import dependency_failed
from workers.patterns.breaker.names import NEEDS_KEY, NOT_ALLOWED, UNAVAILABLE

REQUEST = httpx.Request("GET", "http://rates")


def http_status(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("status", request=REQUEST, response=httpx.Response(status, request=REQUEST))


def urllib_status(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://rates", status, "status", Message(), None)


def wrapped(cause: BaseException) -> ApplicationError:
    error = ApplicationError("The bank does not answer.", type="BankAway")
    error.__cause__ = cause
    return error


class RequestException(OSError):
    """As that of requests, which need not be installed."""


RequestException.__module__ = "requests.exceptions"
RequestsConnectionError = type("ConnectionError", (RequestException,), {"__module__": "requests.exceptions"})
RequestsInvalidURL = type("InvalidURL", (RequestException, ValueError), {"__module__": "requests.exceptions"})

FAILED = [
    ApplicationError("away", type=UNAVAILABLE),
    ConnectionResetError(),
    TimeoutError(),
    socket.gaierror(-2, "Name or service not known"),
    ssl.SSLCertVerificationError("expired"),
    urllib.error.URLError("refused"),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("silent"),
    httpx.RemoteProtocolError("cut off"),
    RequestsConnectionError(),
    http_status(503),
    http_status(429),
    urllib_status(500),
    wrapped(httpx.ConnectError("refused")),
]
ANSWERED = [
    ApplicationError("declined", type="CardDeclined"),
    http_status(404),
    urllib_status(409),
    wrapped(ValueError("no card")),
]
SAYS_NOTHING = [
    ValueError("a bug"),
    FileNotFoundError("settings.ini"),
    httpx.UnsupportedProtocol("no scheme"),
    RequestsInvalidURL(),
    ApplicationError("open", "other", True, type=CIRCUIT_OPEN),
    ApplicationError("no such host", type=NOT_ALLOWED),
    ApplicationError("a POST without a key", type=NEEDS_KEY),
    ApplicationError("began 12 s ago", type=ATTEMPT_EXPIRED),
    asyncio.CancelledError(),
]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((error, True) for error in FAILED),
        *((error, False) for error in ANSWERED),
        *((error, None) for error in SAYS_NOTHING),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_counts(error: BaseException, expected: bool | None) -> None:
    assert dependency_failed(error) is expected


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (ActivityCancellationDetails(timed_out=True), True),
        (ActivityCancellationDetails(paused=True), None),
        (ActivityCancellationDetails(reset=True), None),
        (ActivityCancellationDetails(cancel_requested=True), None),
        (ActivityCancellationDetails(worker_shutdown=True), None),
    ],
)
def test_what_interrupted_a_call_counts_more_than_its_error(
    details: ActivityCancellationDetails, expected: bool | None
) -> None:
    for error in (asyncio.CancelledError(), ConnectionResetError()):
        assert dependency_failed(error, None, details) is expected


def test_an_activity_may_name_its_own_failures() -> None:
    class LedgerLocked(Exception): ...

    assert dependency_failed(LedgerLocked(), (LedgerLocked,)) is True
    assert dependency_failed(ConnectionResetError(), (LedgerLocked,)) is None
    assert dependency_failed(ApplicationError("away", type=UNAVAILABLE), (LedgerLocked,)) is True
