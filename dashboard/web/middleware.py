"""Headers of every response, and an id for every request.

The content security policy allows nothing inline: no script, no style, no handler. Templates keep to that,
and a test reads them. Works in both modes, so it costs no hop between threads under ASGI.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

request_id: ContextVar[str] = ContextVar("request_id", default="")

POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Pages hold what only this person may see; static files are served outside of Django with headers of
    # their own.
    "Cache-Control": "no-store",
}
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

Sync = Callable[[HttpRequest], HttpResponseBase]
Async = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


def _begin(request: HttpRequest) -> str:
    """The id that a proxy gave this request if it looks like one, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    current = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
    request_id.set(current)
    return current


def _finish(response: HttpResponseBase, current: str) -> HttpResponseBase:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-ID"] = current
    return response


@sync_and_async_middleware
def security_headers(get_response: Sync | Async) -> Sync | Async:
    """Middleware: outermost, so that error pages get the headers too."""
    if iscoroutinefunction(get_response):
        asynchronous = cast(Async, get_response)

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            current = _begin(request)
            return _finish(await asynchronous(request), current)

        return amiddleware
    synchronous = cast(Sync, get_response)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        current = _begin(request)
        return _finish(synchronous(request), current)

    return middleware
