"""What `runworker --list` says: what runs where, within which limits, and which build it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from workers.conf import WorkersConf
from workers.process.build_worker import activity_slots
from workers.process.versions import build_id
from workers.registry.definitions import activity_name, workflow_name
from workers.registry.registry import Queue, Registry


def listing(registry: Registry, settings: WorkersConf) -> Iterator[str]:
    """Lines: queues with what they run, then plugins, then the deployment."""
    for queue in sorted(registry.queues.values(), key=lambda queue: queue.name):
        yield f"{queue.name}: {_limits(queue, settings)}"
        for cls in sorted(queue.workflows, key=workflow_name):
            yield f"  workflow {workflow_name(cls)}, {'upgrades' if cls in queue.entities else 'pinned'}"
        for fn in sorted(queue.activities, key=activity_name):
            yield f"  activity {activity_name(fn)}{_described(fn, registry)}"
    for name, plugin in sorted(registry.plugins.items()):
        yield f"plugin {name}: {plugin.distribution or plugin.declared_in}"
    yield f"deployment {settings.deployment or 'none: nothing is pinned and nothing upgrades'}"
    yield f"build {build_id(settings, registry)}"


def _described(fn: Callable[..., Any], registry: Registry) -> str:
    descriptions = (plugin.describe(fn) for plugin in registry.plugins.values())
    return "".join(f", {words}" for words in descriptions if words)


def _limits(queue: Queue, settings: WorkersConf) -> str:
    words = [f"{activity_slots(settings, queue)} activities at once in a process"]
    if queue.max_activities_per_second:
        words.append(f"{queue.max_activities_per_second:g} a second in all")
    if queue.max_workflow_tasks:
        words.append(f"{queue.max_workflow_tasks} workflow tasks at once")
    return ", ".join(words)
