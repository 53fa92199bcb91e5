"""How a workflow wants to be launched, declared where it is registered: `launch` takes its input alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from temporalio.common import Priority, SearchAttributePair

from workers.registry.registry import registry, workflow_name

C = TypeVar("C", bound=type)
_DECLARED = "__signalbox_launch__"


@dataclass(frozen=True)
class Launchable:
    """What `launch` makes of an input; each may be given to `launch` itself, which wins.

    `id`: the workflow id, without the tenant. `attributes`: besides tenant and environment, which are always
    set. `memo`: text for rows of lists. `summary`: one line, 400 bytes. `priority`: 1 (first) to 5, on
    servers that support it. `identity`: what of the input makes two launches of one id the same; default: all
    of it.
    """

    id: Callable[[Any], str] | None = None
    attributes: Callable[[Any], Sequence[SearchAttributePair[Any]]] = lambda given: ()
    memo: Callable[[Any], Mapping[str, Any]] = lambda given: {}
    summary: Callable[[Any], str] = lambda given: ""
    priority: Callable[[Any], Priority] = lambda given: Priority.default
    identity: Callable[[Any], Any] = lambda given: given


_PLAIN = Launchable()


def launchable(**how: Any) -> Callable[[C], C]:
    """A decorator for a workflow class, or a call where it is registered:
    `launchable(id=...)(OrderWorkflow)`. Takes the fields of Launchable."""

    def declare(cls: C) -> C:
        setattr(cls, _DECLARED, Launchable(**how))
        return cls

    return declare


def declared(workflow: type | str | Callable[..., Any]) -> Launchable:
    """What was declared for a workflow, given its class, run method or type name."""
    name = workflow_name(workflow)
    classes = [workflow] if isinstance(workflow, type) else []
    classes += [cls for queue in registry.queues.values() for cls in queue.workflows]
    found = next((cls for cls in classes if workflow_name(cls) == name), None)
    how: Launchable = vars(found).get(_DECLARED, _PLAIN) if found else _PLAIN
    return how
