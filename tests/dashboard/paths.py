"""How far a request goes through our code: through how many files, and through which folders its viewer goes.

Files: each one of which a function was called, and each template that was rendered, is one that a reader of
the code has to open. What every request goes through without doing anything for it in particular is left out:
`FRAME`.

Rooms: a folder of `dashboard/` or `workers/` is one; modules beside the folders (`access`, `forms`) are the
room of their app. A step into a room is a call across folders of a function that is handed the viewer, the
decision or the verdict: as an argument, or inside of one (a request, a dataclass, a list). Coming back to a
caller is no step. The walk begins in the view, as the login that goes before is of every request. A room that
is stepped into twice, with another one between, is a return.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from django.http import HttpRequest
from django.template.base import Template

from dashboard.access import Viewer
from workers.contracts import Decision, Verdict

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("dashboard", "orders", "workers")
MOST_FILES = 13  # of a list filter, from the URL to the row; one is the grammar that all query text passes
MOST_ROOMS = 6  # of an action, from its view to the verdict
FOLLOWED = (Viewer, Decision, Verdict)
# Settings, headers, the context of all templates, translation of errors: on the way of every request. A
# container of values, as a library might bring it, is no stop on anyone's way either.
FRAME = {
    "dashboard/bounded.py",
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


def room_of(file: str) -> str:
    """The room that a file belongs to; empty where it belongs to none."""
    app, *inside = file.split("/")
    if app not in ("dashboard", "workers"):
        return ""
    return f"{app}/{inside[0]}" if len(inside) > 1 else app


def held_by(value: Any) -> Iterator[Any]:
    """A value and what it directly holds."""
    yield value
    if isinstance(value, HttpRequest):
        yield getattr(value, "viewer", None)
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, item.name, None) for item in fields(value))


def is_handed(frame: FrameType) -> bool:
    """Does the function of a frame that has just been entered get what is followed?"""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    given = frame.f_locals
    return any(
        isinstance(value, FOLLOWED) for name in code.co_varnames[:count] for value in held_by(given.get(name))
    )


class Trace:
    """The files that were passed, in the order in which each was passed first, and the steps into rooms."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self.steps: list[str] = []
        self._files: dict[CodeType, str] = {}
        self._entered: set[FrameType] = set()  # a coroutine is "called" again each time it goes on

    @property
    def files(self) -> list[str]:
        """Without the frame."""
        return [name for name in self.found if name not in FRAME]

    @property
    def rooms(self) -> list[str]:
        """Each stay once, however many steps it has."""
        return [name for name, _ in groupby(self.steps)]

    def add(self, name: str) -> None:
        """A file was passed."""
        if name:
            self.found.setdefault(name)

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """For sys.setprofile: called for every call of every function."""
        if event != "call":
            return
        file = self._file(frame)
        self.add(file)
        room = room_of(file)
        if room and frame not in self._entered:
            self._entered.add(frame)
            if self._room_before(frame) not in ("", room) and is_handed(frame):
                self.steps.append(room)

    def _file(self, frame: FrameType) -> str:
        code = frame.f_code
        if code not in self._files:
            self._files[code] = relative(code.co_filename)
        return self._files[code]

    def _room_before(self, frame: FrameType) -> str:
        """The room of the nearest caller that is ours."""
        caller = frame.f_back
        while caller is not None and not room_of(self._file(caller)):
            caller = caller.f_back
        return room_of(self._file(caller)) if caller else ""

    def forget_frames(self) -> None:
        """Let go of the frames and of all that they hold."""
        self._entered.clear()


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
        trace.forget_frames()
