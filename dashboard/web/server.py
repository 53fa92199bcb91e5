"""The web server: uvicorn, with the limits that it needs when clients reach it before a login.

`manage.py runweb` and the supervisor of `make up` start it, so that no option can be forgotten.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dashboard.conf import DashboardConf

HEADER_SECONDS = 10.0  # from the start of the connection, or of a later request in it, to the last header
LARGEST_HEADERS = 64 * 1024  # bytes of a request's line and headers
LARGEST_FRAME = 64 * 1024  # bytes of a message on a socket
LARGEST_ANSWER = 16 * 1024 * 1024  # bytes of Temporal's answer to one call; the SDK takes 128 MB
GRACEFUL_SECONDS = 3  # without a bound, one open stream would keep a stopping process for ever


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are too large, or take too long: uvicorn limits neither."""

    _cut: asyncio.TimerHandle | None = None
    _size = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._cut:
            self._size += len(data)
        super().data_received(data)
        if self._cut and self._size > LARGEST_HEADERS:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._cut:
            self._expect()

    def on_headers_complete(self) -> None:
        self._arrived()
        super().on_headers_complete()

    def _expect(self) -> None:
        self._cut, self._size = self.loop.call_later(HEADER_SECONDS, self.transport.abort), 0

    def _arrived(self) -> None:
        if self._cut:
            self._cut.cancel()
        self._cut = None


def config(conf: DashboardConf, host: str, port: int) -> uvicorn.Config:
    """The configuration of the server. Addresses of clients come from the connection, and from the headers of
    a proxy only where TRUSTED_PROXIES names it."""
    os.environ.setdefault("TEMPORAL_MAX_INCOMING_GRPC_BYTES", str(LARGEST_ANSWER))
    return uvicorn.Config(
        "dashboard.asgi:application",
        host=host,
        port=port,
        http=LimitedProtocol,
        proxy_headers=bool(conf.trusted_proxies),
        forwarded_allow_ips=conf.trusted_proxies,
        limit_concurrency=conf.max_connections,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        ws_max_size=LARGEST_FRAME,
        server_header=False,
        access_log=False,
        log_config=None,  # the logging of the settings, plain or JSON, serves here too
    )
