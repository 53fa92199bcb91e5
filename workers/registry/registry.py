"""What runs on which queue. Every app says so in its `temporal.py`, and plugins in their modules.

`registry.load()` finds them all. Mistakes are reported together, each with its place and its fix.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from django.apps import apps
from django.utils.module_loading import module_has_submodule
from temporalio import workflow
from temporalio.common import SearchAttributeKey

from workers.conf import conf
from workers.registry.definitions import (
    ANY,
    Problem,
    RegistryError,
    activity_name,
    activity_problems,
    place,
    workflow_name,
    workflow_problems,
)
from workers.registry.plugins import Plugin, name_problems
from workers.registry.queues import DYNAMIC
from workers.registry.registrar import Brought, Registrar

__all__ = ["Queue", "Registry", "RegistryError", "activity_name", "registry", "workflow_name"]

T = TypeVar("T")

GROUP = "signalbox.plugins"  # the entry points by which packages name the modules of their plugins


@dataclass(frozen=True)
class Queue:
    """A task queue with what its workers run, and how much of it.

    `entities`: those of the workflows whose runs move to a deployment's newest build; others are pinned.
    `max_activities` and `max_workflow_tasks`: at once in one process (None: the settings decide).
    `max_activities_per_second`: by all processes together. A queue of low priority is one with low limits.
    """

    name: str
    workflows: tuple[type, ...] = ()
    activities: tuple[Callable[..., Any], ...] = ()
    entities: tuple[type, ...] = ()
    max_activities: int | None = None
    max_activities_per_second: float | None = None
    max_workflow_tasks: int | None = None


def _joined(first: tuple[T, ...], more: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys([*first, *more]))


class Registry(Registrar):
    """Queues, search attributes and plugins of all apps. Adding the same thing twice changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.queues: dict[str, Queue] = {}
        self.attributes: tuple[SearchAttributeKey[Any], ...] = ()
        self.shared: tuple[Callable[..., Any], ...] = ()
        self.plugins: dict[str, Plugin] = {}
        self._loading = threading.RLock()
        self._loaded = False
        self._wrong: tuple[Problem, ...] = ()

    def _add(self, brought: Brought) -> None:
        """What cannot be registered is reported and left out."""
        if workflow.unsafe.in_sandbox():
            return  # the sandbox imports a workflow's file again, with its decorators
        queue = brought.queue
        where = queue or "every queue"
        workflows = [cls for cls in brought.workflows if self._fits(where, cls, "workflow", workflow_name)]
        activities = [fn for fn in brought.activities if self._fits(where, fn, "activity", activity_name)]
        if not queue:
            self.shared = _joined(self.shared, activities)
        for name in [queue] if queue else list(self.queues):
            old = self.queues.get(name) or Queue(name)
            self.queues[name] = replace(
                old,
                workflows=_joined(old.workflows, workflows),
                activities=_joined(old.activities, [*activities, *self.shared]),
                entities=_joined(old.entities, [cls for cls in brought.entities if cls in workflows]),
            )
        self.attributes = _joined(self.attributes, brought.attributes)

    def install(self, *plugins: Plugin) -> None:
        """Let workers run what these plugins bring. A second plugin of a name is reported and left out."""
        for plugin in plugins:
            other = self.plugins.setdefault(plugin.name(), plugin)
            if other is not plugin:
                what = f"Plugin {plugin.name()} shadows the one of the same name, declared in {other.where}."
                self.report(Problem(plugin.where, what, "Rename one of them, or install only one."))
                continue
            for brought in plugin.brought:
                self._add(brought)

    def _fits(self, queue: str, item: Any, kind: str, name_of: Callable[[Any], str]) -> bool:
        """Is it decorated, and is its name free? If not, that is reported and the item left out."""
        try:
            name = name_of(item)
        except RegistryError:
            label = getattr(item, "__qualname__", repr(item))
            fix = f"Put @{kind}.defn on it itself, below the decorator of the registry."
            self.report(Problem(place(item), f"{label} is registered as {kind} but is not decorated.", fix))
            return False
        for other in self.queues.values():
            for known in other.workflows if kind == "workflow" else other.activities:
                # An activity may be on several queues; a workflow has one, where launch() starts it.
                same = known == item and (kind == "activity" or other.name == queue)
                if name == name_of(known) and not same and (name != ANY or other.name == queue):
                    where = " and for ".join(dict.fromkeys((other.name, queue)))
                    what = (
                        f"{kind.capitalize()} {name} is registered already, by {place(known)}, for {where}."
                    )
                    self.report(Problem(place(item), what, "Rename one of them, or register it once."))
                    return False
        return True

    def queue(
        self,
        name: str,
        *,
        max_activities: int | None = None,
        max_activities_per_second: float | None = None,
        max_workflow_tasks: int | None = None,
    ) -> None:
        """Limit what the workers of a queue do, see Queue. What was set before stays unless given anew."""
        self.add(name)
        given = {
            "max_activities": max_activities,
            "max_activities_per_second": max_activities_per_second,
            "max_workflow_tasks": max_workflow_tasks,
        }
        limits: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        self.queues[name] = replace(self.queues[name], **limits)

    def problems(self) -> list[Problem]:
        """All mistakes so far: what could not be registered, and what is wrong with what was."""
        found = list(self.reported)
        for plugin in self.plugins.values():
            found += plugin.reported
        for queue in self.queues.values():
            for cls in queue.workflows:
                found += workflow_problems(cls)
            for fn in queue.activities:
                found += activity_problems(fn)
            dynamic = [*filter(_is_dynamic, queue.workflows), *filter(_is_dynamic, queue.activities)]
            if queue.name != DYNAMIC:
                fix = f"Register it for {DYNAMIC}, or give it a name."
                what = f"A dynamic definition on {queue.name} would take what others have not registered yet."
                found += [Problem(place(item), what, fix) for item in dynamic]
        return list(dict.fromkeys(found))

    def load(self) -> None:
        """Import `temporal.py` of every installed app and every plugin, once. Needs Django to be set up.

        Raises RegistryError with all mistakes, each time it is called.
        """
        with self._loading:
            if not self._loaded:
                for config in apps.get_app_configs():
                    if module_has_submodule(config.module, "temporal"):
                        self.imported(f"{config.name}.temporal")
                self.load_plugins()
                self._wrong = tuple(problem for problem in self.problems() if not problem.warning)
                self._loaded = True
        if self._wrong:
            raise RegistryError("Invalid registrations:", self._wrong)

    def load_plugins(self) -> None:
        """Install all plugins of packages and of WORKER_PLUGINS. Their mistakes are reported."""
        for point in entry_points(group=GROUP):
            self._load_plugin(point.module, point)
        for path in conf().plugins:
            self._load_plugin(path, None)

    def _load_plugin(self, path: str, point: EntryPoint | None) -> None:
        module = self.imported(path)
        if module is None:
            return
        found = [item for item in vars(module).values() if isinstance(item, Plugin)]
        own = [plugin for plugin in found if f"{plugin.declared_in}.".startswith(f"{path}.")]
        for plugin in own:
            if point is not None and point.dist is not None:
                plugin.distribution = f"{point.dist.name} {point.dist.version}"
            for problem in name_problems(plugin):
                self.report(problem)
            self.install(plugin)
        if not own:
            fix = 'Write `plugin = Plugin("name")` there, and register through it.'
            self.report(Problem(path, f"Module {path} is named as a plugin but declares none.", fix))

    def _places(self) -> Iterator[tuple[str, Callable[..., Any], str]]:
        """Name, function and queue of every registered activity, on each of its queues."""
        for queue in self.queues.values():
            for fn in queue.activities:
                if (name := activity_name(fn)) != ANY:
                    yield name, fn, queue.name

    def activities(self) -> dict[str, Callable[..., Any]]:
        """Every registered activity by its name."""
        return {name: fn for name, fn, _ in self._places()}

    def activity_queues(self) -> dict[str, str]:
        """Every registered activity's name, and the first queue whose workers run it."""
        return {name: queue for name, _, queue in reversed([*self._places()])}

    def queue_of(self, item: type | str | Callable[..., Any]) -> str:
        """The queue of a workflow, given its class, run method or type name."""
        name = workflow_name(item)
        for queue in self.queues.values():
            if name in map(workflow_name, queue.workflows):
                return queue.name
        raise RegistryError(f"No app has registered a queue for workflow {name}.")


def _is_dynamic(item: Any) -> bool:
    return (workflow_name(item) if isinstance(item, type) else activity_name(item)) == ANY


registry = Registry()
