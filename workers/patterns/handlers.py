"""Base classes for workflows that people decide on or that breakers hold: their signals, queries and
attributes.

A workflow inherits the one that fits and calls its `__init__`; then everything that a pattern needs is
there. What a class leaves out is found when it is registered (`handler_problems`)."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey

from workers.client.attributes import WAITING_FOR
from workers.patterns.decisions import NO_BODY, DecisionHandlers, DecisionLog, lenient_signal
from workers.patterns.guarded_calls import GuardedCalls
from workers.patterns.search_attributes import upsert_changed
from workers.registry.definitions import Problem, place, workflow_name

_NEEDED = {
    "GuardedCalls": ("HoldHandlers", {"resume"}),
    "Saga": (
        "SagaHandlers",
        {"cancel", "resolve_compensation", "resume", "get_saga_status", "get_decision"},
    ),
    "Approval": ("ApprovalHandlers", {"approve", "reject", "get_approval_status", "get_decision"}),
}
"""What a class makes by itself: the base class that makes it, and the signals and queries that go with it."""


class HoldHandlers(DecisionHandlers):
    """Takes `resume`, and keeps WaitingFor up to date. `calls` makes guarded calls.

    held_retry: until a held call is made again without a `resume`. decisions: as for DecisionHandlers.
    """

    def __init__(self, held_retry: timedelta, decisions: DecisionLog | None = None) -> None:
        super().__init__(decisions)
        self.calls = GuardedCalls(held_retry.total_seconds(), self.show)

    @workflow.signal(name="resume", description="A breaker closed, or grants its lease. Body: a Resume.")
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.calls.resume(raw)

    def waiting_for(self) -> list[str]:
        """What a person or a breaker must do next: values of WaitingFor."""
        return self.calls.waiting_for()

    def attributes(self) -> dict[SearchAttributeKey[Any], Any]:
        """Further search attributes of a subclass, with their values now; None removes."""
        return {}

    def show(self) -> None:
        """Upsert the search attributes that have changed."""
        self.updated_at = workflow.now()
        upsert_changed({WAITING_FOR: self.waiting_for() or None, **self.attributes()})


def handler_problems(cls: type) -> Iterator[Problem]:
    """What a workflow class leaves out of the handlers that it inherits, or that it wires by hand."""
    name, bases = f"Workflow {workflow_name(cls)}", {base.__name__ for base in cls.__mro__}
    if DecisionHandlers in cls.__mro__:
        own = cls.__mro__[: cls.__mro__.index(DecisionHandlers)]
        for base in own:
            if "__init__" in vars(base) and not _calls(base.__dict__["__init__"], "__init__"):
                what = f"{name}: {base.__name__}.__init__ leaves out that of its base class."
                yield Problem(place(vars(base)["__init__"]), what, "Add `super().__init__(...)` to it.")
        if "ApprovalHandlers" in bases and not any(_sets(base, "approval") for base in own):
            fix = "Add `self.approval = Approval(policy, ...)` to its __init__."
            yield Problem(place(cls), f"{name} takes votes but has no approval to count them.", fix)
    definition = workflow._Definition.must_from_class(cls)
    there = {*definition.signals, *definition.queries}
    for made, (base_name, needed) in _NEEDED.items():
        if base_name not in bases and (missing := needed - there) and _calls(cls, made):
            what = f"{name} makes its own {made}, but does not answer {', '.join(sorted(missing))}."
            yield Problem(place(cls), what, f"Write `class {cls.__name__}({base_name}):`.")


@cache
def _source(item: object) -> ast.Module:
    """The parsed source of a class or function; empty where there is none to read."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(item)))  # type: ignore[arg-type]
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])


def _calls(item: object, name: str) -> bool:
    """Does its source call something of that name, also as an attribute?"""
    return any(
        isinstance(node, ast.Call) and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
        for node in ast.walk(_source(item))
    )


def _sets(cls: type, attribute: str) -> bool:
    """Does its source assign to `self.<attribute>`?"""
    return any(
        isinstance(node, ast.Attribute) and node.attr == attribute and isinstance(node.ctx, ast.Store)
        for node in ast.walk(_source(cls))
    )
