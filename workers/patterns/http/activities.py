"""`call_http`: one HTTP request to a service outside, from workflow code, by name and by rules.

A plain function, so it runs in the worker's sized pool of threads: a slow answer or a large one holds one
thread and never the event loop that polls, heartbeats and asks the breakers; and the connections are pooled.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workers.conf import conf
from workers.patterns.breaker.names import UNAVAILABLE, current_key, guarded
from workers.patterns.http.messages import (
    ANSWER_HEADERS,
    LATE,
    NO_KEY,
    NOT_IDEMPOTENT,
    REFUSED,
    TOO_LARGE,
    HttpAnswer,
    HttpCall,
    demand_allowed,
)
from workers.payloads.redaction import redact_text

LONGEST_TOLD = 500
LONGEST_WAIT = timedelta(hours=1)
SHARE_OF_TIMEOUT = 0.8  # of start-to-close: a lost answer is seen here, and not as an attempt that vanished
PASSING = {408, 425, 429}
PLAIN = {"Accept-Encoding": "identity"}  # what unpacks to more than it is would pass the limit first

_lock = threading.Lock()
_clients: list[httpx.Client] = []


@activity.defn
@guarded(lambda call: str(call.dependency))
def call_http(call: HttpCall) -> HttpAnswer:
    """The answer of status 2xx.

    Raises ApplicationError: DependencyUnavailable (retryable, after Retry-After when the service gave one)
    for 5xx, 408, 425, 429, timeouts and lost connections; HttpRefused (non-retryable, details: status) for
    other statuses; HttpNotAllowed, HttpTooLarge and HttpKeyMissing (non-retryable).
    """
    demand_allowed(call, conf().http_allowed_hosts)
    try:
        response, content = _exchange(call)
    except httpx.TimeoutException as error:
        raise _unavailable(call, "did not answer in time; whether it happened is not known") from error
    except httpx.HTTPError as error:
        raise _unavailable(call, f"cannot be reached ({type(error).__name__})") from error
    status, headers = response.status_code, response.headers
    if response.is_success:
        kept = {name: headers[name] for name in ANSWER_HEADERS if name in headers}
        return HttpAnswer(status=status, headers=kept, body=_body(content, headers))
    told = redact_text(content.decode(errors="replace"))[:LONGEST_TOLD]
    if status >= 500 or status in PASSING:
        raise _unavailable(call, f"answered {status}: {told}", _retry_after(headers))
    raise ApplicationError(
        f"{call.method} {_place(call)} answered {status}: {told}",
        status,
        type=REFUSED,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,  # an ordinary answer, nothing for the worker's log
    )


def _exchange(call: HttpCall) -> tuple[httpx.Response, bytes]:
    seconds = _seconds(call)
    ends = time.monotonic() + seconds
    with _client().stream(
        call.method,
        call.url,
        headers={**call.headers, **_key(call)},
        json=call.body,
        timeout=seconds,
    ) as response:
        return response, _read(response, call, ends)


def _client() -> httpx.Client:
    """The client of this process: no proxies of the environment, no redirects, as they may lead anywhere."""
    with _lock:
        if not _clients:
            limits = httpx.Limits(max_connections=1100, max_keepalive_connections=64)
            _clients.append(httpx.Client(limits=limits, trust_env=False, headers=PLAIN))
        return _clients[0]


def _seconds(call: HttpCall) -> float:
    """What the call may take, within what the attempt may take."""
    limit = activity.info().start_to_close_timeout
    return (
        min(call.timeout_seconds, limit.total_seconds() * SHARE_OF_TIMEOUT) if limit else call.timeout_seconds
    )


def _key(call: HttpCall) -> dict[str, str]:
    """The same in every attempt, so that the service does it once. Its default is that of GuardedCalls, or
    one of the activity; but a workflow that calls again after a refusal starts another activity."""
    key = call.idempotency_key or current_key.get()
    if not call.idempotency_header:
        return {}
    if not key and call.dependency and call.method in NOT_IDEMPOTENT:
        message = f"{call.method} behind a breaker needs an idempotency_key, or a call by GuardedCalls."
        raise ApplicationError(message, type=NO_KEY, non_retryable=True)
    info = activity.info()
    return {call.idempotency_header: key or f"{info.workflow_run_id}/{info.activity_id}"}


def _read(response: httpx.Response, call: HttpCall, ends: float) -> bytes:
    """The body, decoded; a service that drips is as late as one that is silent."""
    content = b""
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > call.most_bytes:
            message = f"{_place(call)} answered more than {call.most_bytes} bytes."
            raise ApplicationError(message, type=TOO_LARGE, non_retryable=True)
        if time.monotonic() > ends:
            raise _unavailable(call, LATE)
    return content


def _body(content: bytes, headers: httpx.Headers) -> Any:
    if "json" in headers.get("content-type", ""):
        try:
            return httpx.Response(200, content=content).json()
        except ValueError:
            pass  # it said JSON and sent something else, which is text to us
    return content.decode(errors="replace") or None


def _retry_after(headers: httpx.Headers) -> timedelta | None:
    """RFC 9110, 10.2.3: seconds or a date. Within an hour, as a service may also be wrong."""
    given = headers.get("retry-after", "").strip()
    try:
        seconds = float(given) if given.isdigit() else _until(given)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(timedelta(seconds=seconds), LONGEST_WAIT) if 0 < seconds < 10**9 else None


def _until(given: str) -> float:
    at = parsedate_to_datetime(given)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


def _place(call: HttpCall) -> str:
    """The address without its query, which may hold what is nobody's business."""
    return call.url.partition("?")[0][:200]


def _unavailable(call: HttpCall, why: str, after: timedelta | None = None) -> ApplicationError:
    return ApplicationError(f"{_place(call)} {why}", type=UNAVAILABLE, next_retry_delay=after)
