"""What management commands that speak Temporal have in common."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand

from workers.client.connection import serve_command


class TemporalCommand(BaseCommand):
    """Waits for Temporal as a worker does, and ends the process without Python's own finalisation.

    Threads of the SDK may still want the interpreter for a moment after the last call. When that goes down
    under them the process aborts, and its exit code is lost. Only when started from a shell: `call_command`
    returns as usual.
    """

    def run_from_argv(self, argv: list[str]) -> Any:
        serve_command()
        code: Any = 0
        try:
            super().run_from_argv(argv)
        except SystemExit as ending:
            code = ending.code or 0
        except KeyboardInterrupt:
            code = 130
        except Exception:
            sys.excepthook(*sys.exc_info())
            code = 1
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
