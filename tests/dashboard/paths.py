"""Through how many files of ours a request goes: each one is a file that a reader of its code has to open.

Counted are files of which a function was called, and templates that were rendered, in the order of their
first call. What every request goes through without doing anything for it in particular is left out: `FRAME`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from django.template.base import Template

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("dashboard", "orders", "workers")
MOST_FILES = 12  # of a list filter, from the URL to the row
# Settings, headers, the context of all templates, translation of errors: on the way of every request.
FRAME = {
    "dashboard/conf.py",
    "dashboard/web/context.py",
    "dashboard/web/middleware.py",
    "workers/conf.py",
    "workers/client/errors.py",
}


def relative(name: str) -> str:
    """The path of a file of ours from the root of the checkout; empty for all others."""
    path = Path(name)
    inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    return inside if inside.split("/")[0] in (*PACKAGES, "templates") else ""


class Trace:
    """The files that were passed, in the order in which each was passed first."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._known: dict[CodeType, str] = {}

    @property
    def files(self) -> list[str]:
        """Without the frame."""
        return [name for name in self.found if name not in FRAME]

    def add(self, name: str) -> None:
        """A file was passed."""
        if name:
            self.found.setdefault(name)

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """For sys.setprofile: called for every call of every function."""
        if event == "call":
            code = frame.f_code
            if code not in self._known:
                self._known[code] = relative(code.co_filename)
            self.add(self._known[code])


@contextmanager
def traced() -> Iterator[Trace]:
    """Trace what is called in this thread and in threads that begin meanwhile, or that run its work."""
    trace, render = Trace(), Template._render

    def rendering(template: Template, context: Any) -> Any:
        trace.add(relative(template.origin.name))
        return render(template, context)

    Template._render = rendering
    before = sys.getprofile()
    threading.setprofile_all_threads(trace.profile) if sys.version_info >= (3, 12) else threading.setprofile(
        trace.profile
    )
    sys.setprofile(trace.profile)
    try:
        yield trace
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
        if sys.version_info >= (3, 12):
            threading.setprofile_all_threads(None)
        Template._render = render
