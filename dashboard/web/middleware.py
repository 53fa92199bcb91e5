"""Headers of every response, and an id for every request.

The content security policy allows nothing inline: no script, no style, no handler. Templates keep to that,
and a test reads them. Works in both modes, so it costs no hop between threads under ASGI.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

request_id: ContextVar[str] = ContextVar("request_id", default="")
current_request: ContextVar[HttpRequest | None] = ContextVar("current_request", default=None)

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

Sync = Callable[[HttpRequest], HttpResponseBase]
Async = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@contextmanager
def _current(request: HttpRequest) -> Iterator[str]:
    """Within, the request and its id are known. The id is new: one that a client sends could be anything, and
    the audit log keeps it."""
    new = uuid.uuid4().hex
    tokens = request_id.set(new), current_request.set(request)
    try:
        yield new
    finally:
        request_id.reset(tokens[0])
        current_request.reset(tokens[1])


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
            with _current(request) as current:
                return _finish(await asynchronous(request), current)

        return amiddleware
    synchronous = cast(Sync, get_response)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        with _current(request) as current:
            return _finish(synchronous(request), current)

    return middleware
