"""The application that servers run: pages by Django, static files beside it, sockets, start and end.

Static files never pass through Django: from STATIC_ROOT with cache headers, or in development as the apps
have them, read anew each time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
pages = get_asgi_application()  # sets Django up, so it stands before imports that need apps

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles import finders  # noqa: E402
from django.urls import re_path  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402
from starlette.middleware.gzip import GZipMiddleware  # noqa: E402

from dashboard.audit.outcomes import keep_settling  # noqa: E402
from dashboard.conf import conf  # noqa: E402
from dashboard.web.limits import BodyLimits  # noqa: E402
from workers.client.connection import get_client  # noqa: E402
from workers.client.errors import TemporalError  # noqa: E402
from workers.conf import ConfigurationError  # noqa: E402

logger = logging.getLogger(__name__)
NO_SUCH_SOCKET = 4404


class FromApps(ServeStaticASGI):  # type: ignore[misc]  # the package has no types
    """Static files where the apps keep them, found on each request."""

    def candidate_paths_for_url(self, url: str) -> Iterator[str]:
        if found := finders.find(url.removeprefix(settings.STATIC_URL)):
            yield str(found)


def _headers(headers: Any, path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"


def _static() -> ServeStaticASGI:
    options: dict[str, Any] = {"allow_all_origins": False, "add_headers_function": _headers}
    if conf().development:
        return FromApps(None, autorefresh=True, max_age=0, **options)
    return ServeStaticASGI(None, root=settings.STATIC_ROOT, prefix=settings.STATIC_URL, **options)


static = _static()


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Static files by their prefix, everything else by Django."""

    async def spelled(message: Any) -> None:
        """Names of headers in lower case, as ASGI has them; Django and ServeStatic keep capitals."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [(name.lower(), value) for name, value in message["headers"]]}
        await send(message)

    app = static if scope["path"].startswith(settings.STATIC_URL) else pages
    await app(scope, receive, spelled)


# Rows of a list look alike, so they shrink to a tenth. The only secret in a page is the CSRF token, which
# Django masks anew in each response: its length tells nothing (BREACH).
http = GZipMiddleware(plain, minimum_size=1000, compresslevel=4)


async def no_such_socket(scope: Any, receive: Any, send: Any) -> None:
    """Accept and close with a code, so that a browser learns why; a refused handshake tells it nothing."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    await send({"type": "websocket.close", "code": NO_SUCH_SOCKET, "reason": "There is no such socket."})


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Connect to Temporal before the first page asks; it may be away, and pages try again by themselves.
    Until the end, write the outcomes of decisions that their requests could not wait for."""
    settling: asyncio.Task[None] | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await get_client()
            except TemporalError as error:
                logger.warning("%s Pages say so, and try again.", error.message)
            except ConfigurationError as error:  # a restart alone reads settings anew
                logger.error("%s", error)
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            settling = asyncio.create_task(keep_settling())
            await send({"type": "lifespan.startup.complete"})
        else:
            if settling:
                settling.cancel()
            await send({"type": "lifespan.shutdown.complete"})
            return


sockets = URLRouter([re_path(r"", no_such_socket)])  # type: ignore[arg-type, list-item]
application = BodyLimits(ProtocolTypeRouter({"http": http, "websocket": sockets, "lifespan": lifespan}))
