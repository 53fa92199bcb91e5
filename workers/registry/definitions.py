"""What the SDK knows of a workflow or an activity: its name, where it is written, and what is wrong with it.

A definition that breaks only when it runs loops for ever in production. What can be seen beforehand becomes a
Problem, and all problems are reported together.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from temporalio import activity, workflow
from temporalio.common import RawValue

ANY = "*"
"""The name of a dynamic definition, which takes all names that have no definition of their own."""

# Frames of a failed import that say nothing about where the mistake is.
_NOT_THE_AUTHORS = ("<", "site-packages", "importlib", str(Path(__file__).parent / "registrar.py"))


@dataclass(frozen=True)
class Problem:
    """A mistake: `where` is file:line, `what` and `fix` are sentences. A warning stops nothing."""

    where: str
    what: str
    fix: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.fix}"


WORKFLOW_CHECKS: list[Callable[[type], Iterable[Problem]]] = []
"""What patterns find wrong with a workflow class; filled by workers/temporal.py."""


class RegistryError(Exception):
    """A registration is invalid, or no app has registered a name. `problems`: each invalid registration."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        self.problems = problems
        super().__init__("\n".join([message, *(f"  - {problem}" for problem in problems)]))


def workflow_name(item: type | str | Callable[..., Any]) -> str:
    """The workflow type of a class, of its run method, or the name itself; ANY for a dynamic one."""
    if isinstance(item, str):
        return item
    find = workflow._Definition.from_class if isinstance(item, type) else workflow._Definition.from_run_fn
    definition = find(item)  # type: ignore[arg-type]
    if definition is None:
        raise RegistryError(f"{item!r} is not a workflow: decorate its class with @workflow.defn.")
    return definition.name or ANY


def activity_name(fn: Callable[..., Any]) -> str:
    """The name that an activity is called by; ANY for a dynamic one."""
    definition = activity._Definition.from_callable(fn)
    if definition is None:
        raise RegistryError(f"{fn!r} is not an activity: decorate it with @activity.defn.")
    return definition.name or ANY


def takes_input(fn: Callable[..., Any]) -> bool:
    """Does the activity have a parameter?"""
    return bool(inspect.signature(fn).parameters)


def short_path(path: str) -> str:
    """The path as people read it: from the working directory when the file lies below."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def place(item: Any) -> str:
    """file:line of a class, a function or an object with `__call__`."""
    item = inspect.unwrap(item)
    if not isinstance(item, type) and not inspect.isroutine(item):
        item = type(item)
    try:
        line = inspect.getsourcelines(item)[1]
        return f"{short_path(inspect.getsourcefile(item) or '?')}:{line}"
    except (OSError, TypeError):
        return str(getattr(item, "__module__", item))


def import_problem(path: str, error: Exception) -> Problem:
    """`path` cannot be imported: the innermost line that is neither Python's nor the SDK's own."""
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{short_path(error.filename)}:{error.lineno}"
    else:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not any(word in frame.filename for word in _NOT_THE_AUTHORS)
        ]
        where = f"{short_path(frames[-1].filename)}:{frames[-1].lineno}" if frames else path
    what = f"Module {path} does not import: {type(error).__name__}: {error}".rstrip(".")
    return Problem(where, f"{what}.", "Nothing in this module can be registered until it imports.")


def activity_problems(fn: Callable[..., Any]) -> Iterator[Problem]:
    """What is wrong with a decorated activity."""
    definition = activity._Definition.must_from_callable(fn)
    name = f"Activity {definition.name or ANY}"
    if isinstance(fn, type):
        yield Problem(place(fn), f"{name} is a class.", "Register an instance of it.")
        return
    if not definition.is_async and inspect.iscoroutinefunction(inspect.unwrap(fn)):
        fix = "Make the decorator's own function `async def`, or put @activity.defn under it."
        yield Problem(place(fn), f"{name} is async, but a decorator hides that, so it is not awaited.", fix)
    elif not definition.is_async and not definition.no_thread_cancel_exception:
        # The SDK raises it at any line, also where the thread holds a lock of httpx, logging or a database.
        what = f"{name} is sync, and a cancellation raised into its thread can leave locks taken for ever."
        fix = "Write @activity.defn(no_thread_cancel_exception=True); a loop asks activity.is_cancelled()."
        yield Problem(place(fn), what, fix)
    if definition.name is not None:  # a dynamic one takes raw values
        yield from _signature_problems(name, fn, definition.arg_types, definition.ret_type)


def workflow_problems(cls: type) -> Iterator[Problem]:
    """What is wrong with a decorated workflow class."""
    definition = workflow._Definition.must_from_class(cls)
    if definition.name is None:
        return
    name = f"Workflow {definition.name}"
    if definition.versioning_behavior:
        what = f"{name} declares a versioning_behavior: an unversioned worker fails each of its tasks."
        yield Problem(
            place(cls), what, "Leave it out, and register the workflow by entities=[...] to upgrade."
        )
    yield from _signature_problems(name, definition.run_fn, definition.arg_types, definition.ret_type)
    for signal in definition.signals.values():
        required = [p for p in _parameters(signal.fn) if p.default is p.empty]
        if signal.name and required and signal.arg_types != [RawValue]:
            fix = "Take `raw: RawValue = NO_BODY` under @lenient_signal; read it with DecisionLog or read()."
            what = f"{name}: a signal {signal.name} without a body fails its workflow task for ever."
            yield Problem(place(signal.fn), what, fix, warning=True)
    for check in WORKFLOW_CHECKS:
        yield from check(cls)


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(fn).parameters.values() if p.name != "self"]


def _signature_problems(
    name: str, fn: Callable[..., Any], arguments: list[type] | None, result: type | None
) -> Iterator[Problem]:
    parameters = _parameters(fn)
    if len(parameters) > 1:
        names = ", ".join(p.name for p in parameters)
        fix = "Take one pydantic model, which may gain fields while runs are under way."
        yield Problem(place(fn), f"{name} takes {len(parameters)} arguments ({names}).", fix)
    elif parameters and (not arguments or None in arguments):
        fix = "Give it a type, or it arrives as plain JSON."
        yield Problem(place(fn), f"{name} does not say of what type its argument is.", fix)
    if result is None:
        fix = "Give it one (None too), or callers get plain JSON."
        yield Problem(place(fn), f"{name} has no return type.", fix)
    for role, hint in (*(("argument", hint) for hint in arguments or ()), ("result", result)):
        if hint is not None and not _has_schema(hint):
            what = f"{name}: its {role} of type {getattr(hint, '__name__', hint)} cannot be made JSON."
            yield Problem(place(fn), what, "Use a pydantic model, a dataclass or plain types.")


def _has_schema(hint: Any) -> bool:
    if hint is RawValue:
        return True
    try:
        TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return False
    return True
