"""`manage.py sandbox`: serve the outside world of the orders."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Serve the sandbox: payments, stock, carrier, freight and notifications with a ledger and faults."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own signature

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8090, help="0 takes a free one")
        parser.add_argument(
            "--ledger", type=Path, help="the ledger's SQLite file; default: in the state folder"
        )

    def handle(self, *, port: int, ledger: Path | None, **_: Any) -> None:
        import uvicorn

        from orders.sandbox.app import create
        from orders.sandbox.ledger import Ledger

        state: Path = settings.DASHBOARD.state_dir  # type: ignore[misc] # composed in the settings module
        path = ledger or state / "sandbox.sqlite3"
        try:
            app = create(Ledger(path))
        except (sqlite3.Error, OSError) as error:
            raise CommandError(f"The ledger {path} cannot be used: {error}.", returncode=2) from error
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))  # loopback only: it has no login
            except (OSError, OverflowError) as error:
                raise CommandError(f"Port {port} cannot be used: {error}.") from error
            self.stdout.write(f"Sandbox on http://127.0.0.1:{listener.getsockname()[1]}")
            self.stdout.flush()
            config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
            uvicorn.Server(config).run(sockets=[listener])
