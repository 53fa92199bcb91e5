"""`runworker --reload`: in development, a worker that starts again whenever a file that it loaded changes.

Django's own reloader watches in the main thread of a child process; the workers run beside it and are cut off
without a drain, which costs nothing but another attempt of what they were doing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine

from django.conf import settings
from django.utils.autoreload import run_with_reloader

from workers.process.worker_process import Exit, Stop


def reloading(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `main` again and again; returns when Ctrl-C ends it. Raises Stop in production."""
    if not getattr(settings, "DEVELOPMENT", False):
        raise Stop(Exit.USAGE, "--reload is for development (SIGNALBOX_MODE=development).")

    def run() -> None:
        try:
            asyncio.run(main())
        except Stop as stop:  # keep watching: the next change may mend it
            sys.stderr.write(f"{stop.message}\nWaiting for a change.\n")

    run_with_reloader(run)
