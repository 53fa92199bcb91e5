"""Plugins: what a pattern, or a package from outside, brings to workers.

A Plugin is a plugin of the SDK, so it serves workers and Replayers; and it says on which queues its workflows
and activities run, as one worker process serves several. Those of the patterns are listed in
workers/temporal.py. A package from outside is found by an entry point of the group `signalbox.plugins`, or by
its module in WORKER_PLUGINS; its definitions carry its name, `mailer.send`, so that two packages may both
have a `send`.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor

from workers.registry.definitions import (
    ANY,
    Problem,
    RegistryError,
    activity_name,
    place,
    short_path,
    workflow_name,
)
from workers.registry.registrar import Brought, Registrar

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Plugin(Registrar, SimplePlugin):
    """What one package or pattern brings. A subclass may override the hooks `prepare`, `check`, `describe`
    and `companions`.

    `name`: lower-case letters, digits, - and _, at most 40. `interceptors`: makes the worker interceptors,
    once for each worker process; they stand between the platform's own and the activity.
    """

    def __init__(self, name: str, *, interceptors: Callable[[], Sequence[Interceptor]] = tuple) -> None:
        SimplePlugin.__init__(self, name, interceptors=interceptors())
        frame = sys._getframe(1)  # the module that declares the plugin is the one to name in mistakes
        self.declared_in = str(frame.f_globals.get("__name__", ""))
        self.where = f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        self.distribution = ""
        """Name and version of the installed package that it came with, or ""."""
        self.brought: list[Brought] = []
        Registrar.__init__(self)
        self._interceptors = interceptors

    def _add(self, brought: Brought) -> None:
        self.brought.append(brought)

    def fresh(self) -> Self:
        """This plugin with interceptors of its own, for one worker process or one Replayer."""
        made = copy.copy(self)
        made.interceptors = self._interceptors()
        return made

    async def prepare(self, client: Client) -> None:
        """Called once in each worker process, when the search attributes are there and before it polls.

        Raises workers.client.errors.TemporalError when it cannot be done.
        """

    def check(self, activities: Mapping[str, Callable[..., Any]]) -> Iterable[Problem]:
        """What `runworker --check` finds besides what the registry knows by itself. `activities`: all that
        are registered, by name."""
        return ()

    def describe(self, activity: Callable[..., Any]) -> str:
        """What `runworker --list` says behind the activity's name."""
        return ""

    def companions(self) -> Iterable[str]:
        """Queues that every worker process serves besides those that it was started for."""
        return ()


def name_problems(plugin: Plugin) -> Iterator[Problem]:
    """What is wrong with the name of a package from outside, and with those of its definitions."""
    name = plugin.name()
    if not _NAME.fullmatch(name):
        fix = "Use lower-case letters, digits, - and _, at most 40."
        yield Problem(plugin.where, f"{name!r} cannot be the name of a plugin.", fix)
        return
    for brought in plugin.brought:
        named: list[tuple[str, Any, Callable[[Any], str]]] = [
            *(("workflow", cls, workflow_name) for cls in brought.workflows),
            *(("activity", fn, activity_name) for fn in brought.activities),
        ]
        for kind, item, name_of in named:
            with suppress(RegistryError):  # undecorated: the registry tells
                known = name_of(item)
                if known != ANY and not known.startswith(f"{name}."):
                    what = f"{kind.capitalize()} {known} of plugin {name} has no name of its own."
                    yield Problem(place(item), what, f'Name it @{kind}.defn(name="{name}.{known}").')
