"""What runs on which queue. Every app says so in its `temporal.py`, which `registry.load()` finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

from workers.patterns.breaker import BreakerConfig

T = TypeVar("T")


class RegistryError(Exception):
    """An app registered something that cannot be, or nobody registered what was asked for."""


@dataclass(frozen=True)
class Queue:
    """A task queue with what its workers run, and how much of it.

    `max_activities` and `max_workflow_tasks`: at once in one process (None: the settings decide).
    `max_activities_per_second`: by all processes together. A queue of low priority is one with low limits.
    """

    name: str
    workflows: tuple[type, ...] = ()
    activities: tuple[Callable[..., Any], ...] = ()
    max_activities: int | None = None
    max_activities_per_second: float | None = None
    max_workflow_tasks: int | None = None


def workflow_name(item: type | str | Callable[..., Any]) -> str:
    """The workflow type of a class, of its run method, or the name itself."""
    if isinstance(item, str):
        return item
    find = workflow._Definition.from_class if isinstance(item, type) else workflow._Definition.from_run_fn
    definition = find(item)  # type: ignore[arg-type]
    if definition is None or definition.name is None:
        raise RegistryError(f"{item!r} is not a workflow with a name.")
    return definition.name


def activity_name(fn: Callable[..., Any]) -> str:
    """The name that an activity is called by."""
    definition = activity._Definition.from_callable(fn)
    if definition is None or definition.name is None:
        raise RegistryError(f"{fn!r} is not an activity with a name: decorate it with @activity.defn.")
    return definition.name


def _joined(first: tuple[T, ...], more: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys([*first, *more]))


class Registry:
    """Queues, search attributes and breakers of all apps. Adding the same thing twice changes nothing."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.attributes: tuple[SearchAttributeKey[Any], ...] = ()
        self.breakers: dict[str, BreakerConfig] = {}
        self.shared: tuple[Callable[..., Any], ...] = ()
        self._loading = threading.RLock()
        self._loaded = False

    def add(
        self,
        queue: str,
        *,
        workflows: Iterable[type] = (),
        activities: Iterable[Callable[..., Any]] = (),
        attributes: Iterable[SearchAttributeKey[Any]] = (),
    ) -> None:
        """Let workers of `queue` run these, whose workflows use these search attributes."""
        workflows = tuple(workflows)
        for cls in workflows:
            name = workflow_name(cls)
            other = self._queue_of(name)
            if other not in (None, queue):
                raise RegistryError(f"Workflow {name} is registered for {other} and for {queue}.")
        old = self.queues.get(queue, Queue(queue))
        self.queues[queue] = replace(
            old,
            workflows=_joined(old.workflows, workflows),
            activities=_joined(old.activities, [*activities, *self.shared]),
        )
        self.attributes = _joined(self.attributes, attributes)

    def everywhere(self, fn: Callable[..., Any]) -> None:
        """Let the workers of every queue run this activity, as any workflow may call it as a local one."""
        self.shared = _joined(self.shared, [fn])
        for name in list(self.queues):
            self.add(name)

    def queue(
        self,
        name: str,
        *,
        max_activities: int | None = None,
        max_activities_per_second: float | None = None,
        max_workflow_tasks: int | None = None,
    ) -> None:
        """Limit what the workers of a queue do, see Queue. What stands here before stays unless given anew."""
        self.add(name)
        given = {
            "max_activities": max_activities,
            "max_activities_per_second": max_activities_per_second,
            "max_workflow_tasks": max_workflow_tasks,
        }
        limits: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        self.queues[name] = replace(self.queues[name], **limits)

    def breaker(self, dependency: str, *, threshold: int, open_seconds: float) -> None:
        """Guard `dependency` by a shared breaker, which every `runworker` keeps running."""
        config = BreakerConfig(dependency=dependency, threshold=threshold, open_seconds=open_seconds)
        if self.breakers.setdefault(dependency, config) != config:
            raise RegistryError(f"The breaker of {dependency} is registered twice, with different settings.")

    def load(self) -> None:
        """Import `temporal.py` of every installed app, once. Needs Django to be set up."""
        from django.utils.module_loading import autodiscover_modules

        with self._loading:
            if not self._loaded:
                autodiscover_modules("temporal")
                self._loaded = True

    def _queue_of(self, name: str) -> str | None:
        return next(
            (q.name for q in self.queues.values() if name in map(workflow_name, q.workflows)),
            None,
        )

    def activity_queues(self) -> dict[str, str]:
        """Every registered activity's name, and the first queue whose workers run it."""
        found: dict[str, str] = {}
        for queue in self.queues.values():
            for fn in queue.activities:
                found.setdefault(activity_name(fn), queue.name)
        return found

    def queue_of(self, item: type | str | Callable[..., Any]) -> str:
        """The queue of a workflow, given its class, run method or type name."""
        name = workflow_name(item)
        queue = self._queue_of(name)
        if queue is None:
            raise RegistryError(f"No app has registered a queue for workflow {name}.")
        return queue


registry = Registry()
