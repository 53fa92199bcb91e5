"""`manage.py runweb`: the console's web server."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.conf import conf
from dashboard.web.server import config


class Command(BaseCommand):
    help = "Serve the console until SIGTERM or Ctrl-C. A proxy in front of it speaks TLS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *, host: str, port: int, **_: Any) -> None:
        if conf().https and not conf().trusted_proxies:
            raise CommandError(
                "Pages are served by HTTPS alone, and TRUSTED_PROXIES names no proxy that speaks it:"
                " each page would redirect to itself. Name the proxy, or set REQUIRE_HTTPS=false."
            )
        server = uvicorn.Server(config(conf(), host, port))
        server.run()
        if not server.started:
            sys.exit(3)  # as uvicorn's own command does
