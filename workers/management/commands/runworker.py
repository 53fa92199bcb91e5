"""Runs the workers of the registered queues. Stands in for the command of the same name in Channels."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils.autoreload import run_with_reloader

from workers.conf import conf
from workers.management.base import TemporalCommand
from workers.process import preflight
from workers.process.listing import listing
from workers.process.worker_process import Exit, Stop, WorkerProcess
from workers.registry.registry import registry


class Command(TemporalCommand):
    """What a worker process does is in workers/process/worker_process.py."""

    help = (
        "Run Temporal workers for QUEUEs (default: all registered). The first SIGTERM or SIGINT drains, the "
        "second stops at once. Exit codes: 0 done, 2 usage, 3 Temporal away, 4 search attributes, 5 a "
        "workflow does not load, 6 a worker failed, 130 or 143 stopped at once."
    )
    # A worker serves no page, so the checks of URLs and admin pages only cost it time.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("queues", nargs="*", metavar="QUEUE")
        parser.add_argument("--list", action="store_true", help="print the queues and what runs on them")
        parser.add_argument("--check", action="store_true", help="check that workers could run, and exit")
        parser.add_argument(
            "--make-current", action="store_true", help="send new runs to this build of WORKER_DEPLOYMENT"
        )
        parser.add_argument("--health-port", type=int, default=0, metavar="PORT", help="0: off (default)")
        parser.add_argument(
            "--health-host", default="127.0.0.1", metavar="HOST", help="of the health and metrics ports"
        )
        parser.add_argument("--reload", action="store_true", help="start again on changes, in development")
        parser.add_argument("--identity", default="", help="default: signalbox/<queue>@<host>:<pid>")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["check"]:
                self.stdout.write(asyncio.run(preflight.check(options["queues"])))
                return
            if options["reload"]:
                self._reload(options)
                return
            preflight.load()
            if options["list"]:
                self.stdout.write("\n".join(listing(registry, conf())))
            elif options["make_current"]:
                self.stdout.write(asyncio.run(preflight.make_build_current()))
            else:
                asyncio.run(self._run(options))
        except Stop as stop:
            raise CommandError(stop.message, returncode=int(stop.code)) from stop

    def _reload(self, options: dict[str, Any]) -> None:
        """Run again and again, until Ctrl-C. Django's reloader watches in the main thread; the workers run
        beside it and are cut off without a drain, which costs another attempt of what they were doing."""
        if not getattr(settings, "DEVELOPMENT", False):
            raise Stop(Exit.USAGE, "--reload is for development (SIGNALBOX_MODE=development).")

        def run() -> None:
            try:
                asyncio.run(self._run(options))
            except Stop as stop:  # keep watching: the next change may mend it
                self.stderr.write(f"{stop.message}\nWaiting for a change.")

        run_with_reloader(run)

    async def _run(self, options: dict[str, Any]) -> None:
        preflight.load()
        # Made inside the loop that it is about.
        await WorkerProcess(
            preflight.choose(options["queues"]),
            identity=options["identity"],
            host=options["health_host"],
            health_port=options["health_port"],
        ).run()
