"""`call_http`: one HTTP request to a service outside, from workflow code, by name and by rules.

It waits on the event loop, so a slow answer holds neither a thread nor the loop, and a cancellation ends it
at once. What takes time of the processor, the JSON of a large answer, is read in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workers.conf import conf
from workers.contracts.effects import NO_EFFECT
from workers.deadlines import time_left
from workers.patterns.breaker.names import NEEDS_KEY, UNAVAILABLE, current_key, guarded
from workers.patterns.http.messages import (
    ANSWER_HEADERS,
    REFUSED,
    TOO_LARGE,
    HttpAnswer,
    HttpCall,
    demand_allowed,
)
from workers.payloads.redaction import redact_text

LONGEST_EXCERPT = 500
LONGEST_WAIT = timedelta(hours=1)
HEARTBEAT_SECONDS = 10.0  # at least so often: by its answer the server tells of a cancellation
_LARGE = 64 * 1024  # bytes of JSON that are read in a thread
PASSING = {408, 425, 429}
PLAIN = {"Accept-Encoding": "identity"}  # what unpacks to more than it is would pass the limit first

# A client's connections belong to the event loop that opened them.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


@activity.defn
@guarded(lambda call: str(call.dependency))
async def call_http(call: HttpCall) -> HttpAnswer:
    """The answer of status 2xx.

    Raises ApplicationError: DependencyUnavailable (retryable, after Retry-After when the service gave one)
    for 5xx, 408, 425, 429, timeouts and lost connections; HttpRefused (non-retryable, details: status) for
    other statuses, with NO_EFFECT as its first detail for those of `no_effect`; HttpNotAllowed,
    HttpNeedsIdempotencyKey and HttpTooLarge (non-retryable); AttemptExpired (retryable) when the attempt is
    over before the request.
    """
    demand_allowed(call, conf().http_allowed_hosts)
    headers = {**call.headers, **_key(call)}
    try:
        async with asyncio.timeout(time_left(call.timeout_seconds)), _heartbeats():
            response, content = await _exchange(call, headers)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise _unavailable(call, "did not answer in time; whether it happened is not known") from error
    except httpx.HTTPError as error:
        raise _unavailable(call, f"cannot be reached ({type(error).__name__})") from error
    if response.is_success:
        kept = {name: response.headers[name] for name in ANSWER_HEADERS if name in response.headers}
        return HttpAnswer(
            status=response.status_code, headers=kept, body=await _body(content, response.headers)
        )
    raise _refusal(call, response, content)


def _refusal(call: HttpCall, response: httpx.Response, content: bytes) -> ApplicationError:
    status = response.status_code
    excerpt = redact_text(content.decode(errors="replace"))[:LONGEST_EXCERPT]
    if status not in call.no_effect and (status >= 500 or status in PASSING):
        return _unavailable(call, f"answered {status}: {excerpt}", _retry_after(response.headers))
    return ApplicationError(
        f"{call.method} {_place(call)} answered {status}: {excerpt}",
        *((NO_EFFECT, status) if status in call.no_effect else (status,)),
        type=REFUSED,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,  # an ordinary answer, nothing for the worker's log
    )


async def _exchange(call: HttpCall, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    content = b""
    async with _client().stream(call.method, call.url, headers=headers, json=call.body) as response:
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > call.most_bytes:
                message = f"{_place(call)} answered more than {call.most_bytes} bytes; it may have happened."
                raise ApplicationError(message, type=TOO_LARGE, non_retryable=True)
    return response, content


def _client() -> httpx.AsyncClient:
    """The client of this loop: no proxies of the environment, no redirects, as they may lead anywhere. The
    call has one deadline, so none of its phases has one."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        limits = httpx.Limits(max_connections=1100, max_keepalive_connections=64)
        _clients[loop] = httpx.AsyncClient(
            limits=limits,
            trust_env=False,
            headers=PLAIN,
            timeout=None,  # noqa: S113 (see above)
        )
    return _clients[loop]


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """Heartbeats while the block runs, so that a cancellation and the death of this worker are seen."""
    limit = activity.info().heartbeat_timeout
    pause = min(HEARTBEAT_SECONDS, limit.total_seconds() / 3 if limit else HEARTBEAT_SECONDS)

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(pause)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def _key(call: HttpCall) -> dict[str, str]:
    """Every attempt of a call has the same key, so that the service does it once."""
    if not call.idempotency_header:
        return {}
    key = call.idempotency_key or current_key.get()
    if not key and call.dependency and call.method in ("POST", "PATCH"):
        message = f"A {call.method} behind the breaker of {call.dependency} needs an idempotency_key."
        raise ApplicationError(message, type=NEEDS_KEY, non_retryable=True)
    info = activity.info()
    return {call.idempotency_header: key or f"{info.workflow_run_id}/{info.activity_id}"}


async def _body(content: bytes, headers: httpx.Headers) -> Any:
    if "json" in headers.get("content-type", ""):
        parse = httpx.Response(200, content=content).json
        try:
            return await asyncio.to_thread(parse) if len(content) > _LARGE else parse()
        except ValueError:
            pass  # its type is JSON and its content is not, which is text to us
    return content.decode(errors="replace") or None


def _retry_after(headers: httpx.Headers) -> timedelta | None:
    """RFC 9110, 10.2.3: seconds or a date. Within an hour, as a service may also be wrong."""
    given = headers.get("retry-after", "").strip()
    try:
        if given.isdigit():
            wait = timedelta(seconds=int(given))
        else:
            at = parsedate_to_datetime(given)
            wait = at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(wait, LONGEST_WAIT) if wait > timedelta() else None


def _place(call: HttpCall) -> str:
    """The address without its query, which may hold secrets."""
    return call.url.partition("?")[0][:200]


def _unavailable(call: HttpCall, why: str, after: timedelta | None = None) -> ApplicationError:
    return ApplicationError(f"{_place(call)} {why}", type=UNAVAILABLE, next_retry_delay=after)
