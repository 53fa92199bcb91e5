"""How workflows and activities are registered: by `add`, by decorator, by module; for apps and plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

from workers.registry.definitions import Problem, import_problem

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Brought:
    """What one call registers. `queue`: "" for all. `entities`: those of the workflows that upgrade."""

    queue: str
    workflows: tuple[type, ...] = ()
    activities: tuple[Callable[..., Any], ...] = ()
    attributes: tuple[SearchAttributeKey[Any], ...] = ()
    entities: tuple[type, ...] = ()


class Registrar:
    """The ways to register, of the registry and of every plugin. A plugin keeps what it is given until it is
    installed in the registry. Mistakes are kept in `reported`, until load() names them all."""

    def __init__(self) -> None:
        self.reported: list[Problem] = []

    def add(
        self,
        queue: str,
        *,
        workflows: Iterable[type] = (),
        activities: Iterable[Callable[..., Any]] = (),
        attributes: Iterable[SearchAttributeKey[Any]] = (),
        entities: Iterable[type] = (),
    ) -> None:
        """Let workers of `queue` run these, whose workflows use these search attributes.

        `entities`: workflows that live for months. With worker deployments their runs move to the newest
        build, while those of other workflows end on the build that they began on.
        """
        own = (*entities,)
        self._add(Brought(queue, (*workflows, *own), (*activities,), (*attributes,), own))

    def everywhere(self, fn: F) -> F:
        """Let the workers of every queue run this activity: any workflow may call it, also as a local one."""
        self._add(Brought("", activities=(fn,)))
        return fn

    def _add(self, brought: Brought) -> None:
        raise NotImplementedError

    def report(self, problem: Problem) -> None:
        if problem not in self.reported:
            self.reported.append(problem)

    def workflow(self, queue: str, *, entity: bool = False) -> Callable[[C], C]:
        """`@registry.workflow("queue")` above `@workflow.defn`. `entity`: see add()."""

        def register(cls: C) -> C:
            self.add(queue, workflows=[cls], entities=[cls] if entity else [])
            return cls

        return register

    def activity(self, queue: str) -> Callable[[F], F]:
        """`@registry.activity("queue")` above `@activity.defn`."""

        def register(fn: F) -> F:
            self.add(queue, activities=[fn])
            return fn

        return register

    def module(self, path: str, *, queue: str) -> None:
        """Register every workflow and activity that is written in the module `path` or below it."""
        module = self.imported(path)
        if module is None:
            return
        own = [item for item in vars(module).values() if _written_in(path, item)]
        workflows = [item for item in own if isinstance(item, type) and workflow._Definition.from_class(item)]
        activities = [
            item
            for item in own
            if not isinstance(item, type) and callable(item) and activity._Definition.from_callable(item)
        ]
        if not workflows and not activities:
            fix = "Decorate them with @workflow.defn or @activity.defn, or name the module they are in."
            self.report(Problem(path, f"Module {path} has no workflow and no activity.", fix))
        self.add(queue, workflows=workflows, activities=activities)

    def imported(self, path: str) -> ModuleType | None:
        """The module, or None: then why not is reported."""
        try:
            return import_module(path)
        except Exception as error:  # whatever a module does when it is imported
            self.report(import_problem(path, error))
            return None


def _written_in(path: str, item: Any) -> bool:
    return f"{getattr(item, '__module__', '')}.".startswith(f"{path}.")
