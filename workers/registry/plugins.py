"""Plugins: packages that bring workflows and activities, each under a name of its own: `mailer.send`.

A plugin is found by an entry point of the group `signalbox.plugins`, or by its module in WORKER_PLUGINS. Its
module makes a `Plugin` and registers plain temporalio definitions through it, so that two plugins may both
have a `send`. Their definitions stay as they are: what workers run are wrappers with the longer name, and
within the plugin's own workflows the short names mean its own (workers/interceptors/plugins.py).
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

from workers.registry.definitions import ANY, Problem, RegistryError, activity_name, short_path, workflow_name
from workers.registry.registrar import PluginRegistrar
from workers.registry.registry import Registry, registry

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Plugin(PluginRegistrar):
    """One plugin, made by its module."""

    def __init__(self, name: str, *, into: Registry = registry) -> None:
        frame = sys._getframe(1)  # whoever declares the plugin is who a mistake is told about
        self.name = name
        self.declared_in = str(frame.f_globals.get("__name__", ""))
        self.where = f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        self.distribution = ""
        self.workflows: dict[str, str] = {}
        self.activities: dict[str, str] = {}
        self._into = into
        self._wrapped: dict[Any, Any] = {}
        if workflow.unsafe.in_sandbox():
            return
        into.declared.append(self)
        other = into.plugins.setdefault(name, self)
        if not _NAME.fullmatch(name):
            fix = "Use lower-case letters, digits, - and _, at most 40."
            self.report(Problem(self.where, f"{name!r} cannot be the name of a plugin.", fix))
        if other.declared_in != self.declared_in:
            what = f"Plugin {name} shadows the one of the same name, declared in {other.where}."
            self.report(Problem(self.where, what, "Rename one of them, or install only one."))

    def report(self, problem: Problem) -> None:
        self._into.report(problem)

    def add(
        self,
        queue: str,
        *,
        workflows: Iterable[type] = (),
        activities: Iterable[Callable[..., Any]] = (),
        attributes: Iterable[SearchAttributeKey[Any]] = (),
        entities: Iterable[type] = (),
    ) -> None:
        """As Registry.add, under the names `<plugin>.<name>`."""
        if workflow.unsafe.in_sandbox():
            return
        self._into.add(
            queue,
            workflows=[self._named(cls, workflow_name, self.workflows, _subclass) for cls in workflows],
            activities=[self._named(fn, activity_name, self.activities, _partial) for fn in activities],
            attributes=attributes,
            entities=[self._named(cls, workflow_name, self.workflows, _subclass) for cls in entities],
        )

    def _named(
        self, item: Any, name_of: Callable[[Any], str], names: dict[str, str], wrap: Callable[[Any, str], Any]
    ) -> Any:
        """The wrapper of a definition, always the same one. What has no name goes on, to be refused."""
        if item not in self._wrapped:
            try:
                short = name_of(item)
            except RegistryError:
                return item
            if short == ANY:
                return item
            names[short] = f"{self.name}.{short}"
            self._wrapped[item] = wrap(item, names[short])
        return self._wrapped[item]


def _subclass(cls: type, name: str) -> type:
    """The sandbox finds the original by its module and name; workers know it by this one's definition."""
    made = type(cls.__name__, (cls,), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    definition = workflow._Definition.must_from_class(cls)
    made.__temporal_workflow_definition = replace(definition, name=name, cls=made)  # type: ignore[attr-defined]
    return made


def _partial(fn: Any, name: str) -> Callable[..., Any]:
    """A partial of an async function counts as async, and update_wrapper keeps the marks of decorators."""
    # Of an object only its __call__ can be seen to be async.
    call = fn if inspect.isroutine(fn) else fn.__call__
    made = functools.update_wrapper(functools.partial(call), fn)
    definition = activity._Definition.must_from_callable(fn)
    made.__temporal_activity_definition = replace(definition, name=name, fn=made)  # type: ignore[attr-defined]
    return made


def plugin_of(workflow_type: str) -> PluginRegistrar | None:
    """The plugin that a workflow type belongs to, if any."""
    return registry.plugins.get(workflow_type.partition(".")[0]) if "." in workflow_type else None
