"""Limits on the bodies of requests, before Django or a login sees them: their bytes, and the time they take.

A body over the limit is answered with 413, also one that is sent in chunks and announces no length; one that
has not arrived in time with 408. Nothing is kept of either.
"""

from __future__ import annotations

import asyncio
from typing import Any

LARGEST_BODY = 2_621_440  # bytes, 2.5 MB; Django's own limit is 2 MB and explains itself on a page
BODY_SECONDS = 20.0  # for the whole body, however it is sliced

TOO_LARGE = (413, b"The request is larger than 2.5 MB.")
TOO_SLOW = (408, b"The request did not arrive in time.")


class BodyLimits:
    """ASGI middleware around the whole application."""

    def __init__(self, app: Any, *, largest: int = LARGEST_BODY, seconds: float = BODY_SECONDS) -> None:
        self._app, self._largest, self._seconds = app, largest, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on; to the application, a body that breaks a limit is a client that went away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _announced(scope) > self._largest:
            await _refuse(send, *TOO_LARGE)
            return
        guard = _Guard(receive, send, self._largest, asyncio.get_running_loop().time() + self._seconds)
        await self._app(scope, guard.receive, guard.send)
        if guard.refusal and not guard.answered:
            await _refuse(send, *guard.refusal)


class _Guard:
    """One request: counts what is received. Once a limit is broken, nothing of the application is sent."""

    def __init__(self, receive: Any, send: Any, largest: int, deadline: float) -> None:
        self._receive, self._send, self._left, self._deadline = receive, send, largest, deadline
        self._complete = False
        self.refusal: tuple[int, bytes] | None = None
        self.answered = False

    async def receive(self) -> Any:
        if self.refusal:
            return {"type": "http.disconnect"}
        if self._complete:  # what follows the body is the end of the connection, whenever that comes
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.refusal = TOO_SLOW
            return {"type": "http.disconnect"}
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        if self._left < 0:
            self.refusal = TOO_LARGE
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Any) -> None:
        if self.refusal and not self.answered:
            return
        self.answered = True
        await self._send(message)


def _announced(scope: Any) -> int:
    """The length that the header names; 0 without one."""
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


async def _refuse(send: Any, status: int, text: bytes) -> None:
    """The connection is closed, as the rest of the body is still on its way."""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
