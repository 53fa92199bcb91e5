"""System checks: what apps registered with the console, and whether it can be shown.

`manage.py check` runs them, and each command that checks before it runs. Messages name the module, and file
and line of the call of `register()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template
from temporalio.api.enums.v1 import IndexedValueType

from dashboard import extend, registrations
from dashboard.extend import Action, Column, Money, Panel, Pipeline, Registered
from workers.registry.definitions import workflow_name
from workers.registry.registry import registry

MOST_STAGES = 8  # of a pipeline; the overview has no room for more

# What is wrong with an item and how to mend it, by the id of the message.
Wrong = tuple[str, str, str]


def _key(item: extend.Item) -> tuple[str, ...]:
    """What may be registered once."""
    match item:
        case Pipeline() | Money():
            return (item.workflow_type,)
        case Column():
            return item.workflow_type, item.key
        case Panel():
            return (item.query,)
        case Action():
            return (item.name,)


def _name(item: extend.Item) -> str:
    return f"{type(item).__name__} {' '.join(filter(None, _key(item)))}"


def _pipeline(item: Pipeline) -> Iterator[Wrong]:
    if not 1 <= len(item.stages) <= MOST_STAGES:
        yield "E010", f"has {len(item.stages)} stages.", f"Give it 1 to {MOST_STAGES}; join some."
    twice = [name for name, count in Counter(stage.name for stage in item.stages).items() if count > 1]
    if twice:
        yield "E011", f"has stages of one name: {', '.join(twice)}.", "Give each stage its own name."
    if unknown := item.breakers.keys() - item.labels.keys():
        yield (
            "E012",
            f"guards stages that it does not have: {', '.join(sorted(unknown))}.",
            "Correct the names.",
        )
    if both := item.endings.keys() & item.labels.keys():
        yield "E013", f"has stages that are endings too: {', '.join(sorted(both))}.", "Take them out of one."


def _money(item: Money) -> Iterator[Wrong]:
    kind = registrations.attribute_types().get(item.attribute)
    if kind not in (None, IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE):
        yield "E020", f"names {item.attribute}, which is no Double.", "Name a Double, in major units."
    if not item.currency_memo:
        yield "E021", "names no memo for the currency.", "Amounts do not compare without one: name it."


def _column(item: Column) -> Iterator[Wrong]:
    moneys = extend.moneys.values()
    if item.kind == "money" and not any(
        item.key == money.attribute and item.workflow_type in ("", money.workflow_type) for money in moneys
    ):
        yield "E030", "is of kind money, and no Money names its attribute.", "Register a Money for its type."


def _panel(item: Panel) -> Iterator[Wrong]:
    try:
        get_template(item.template)
    except TemplateDoesNotExist:
        yield "E040", f"has a template that does not exist: {item.template}.", "Correct its path, or add it."
    except TemplateSyntaxError as error:
        yield "E041", f"has a template that cannot be read: {item.template}: {error}", "Correct the template."


def _action(item: Action) -> Iterator[Wrong]:
    if item.places - (places := {"run", "approvals", "breakers", "bulk"}):
        known = ", ".join(sorted(places))
        yield "E050", "has a place that is none.", f"Places are {known}."


CHECKS: dict[type, Callable[[Any], Iterable[Wrong]]] = {
    Pipeline: _pipeline,
    Money: _money,
    Column: _column,
    Panel: _panel,
    Action: _action,
}


def _error(found: Registered, wrong: Wrong) -> CheckMessage:
    number, what, fix = wrong
    hint = f"{fix} It is registered by {found.module}, {found.where}."
    return Error(f"{_name(found.item)} {what}", hint=hint, id=f"dashboard.{number}")


def _registered_twice(items: Sequence[Registered]) -> Iterator[CheckMessage]:
    """Of two modules that register one key, the one that Django imports last would win."""
    first: dict[tuple[type, tuple[str, ...]], Registered] = {}
    for found in items:
        earlier = first.setdefault((type(found.item), _key(found.item)), found)
        if earlier.module != found.module:
            wrong = f"is registered already by {earlier.module}, {earlier.where}."
            yield _error(found, ("E001", wrong, "Rename one, or take one out."))


def _unknown_types(items: Sequence[Registered]) -> Iterator[CheckMessage]:
    """Types that no worker of this installation runs. Another SDK's worker may run them."""
    known = {workflow_name(cls) for queue in registry.queues.values() for cls in queue.workflows}
    for found in items:
        name = "" if isinstance(found.item, Panel | Action) else found.item.workflow_type
        if name and name not in known:
            yield checks.Warning(
                f"{_name(found.item)}: no app has registered a workflow of the type {name}.",
                hint=f"Correct the type, unless a worker of another installation runs it. It is registered by"
                f" {found.module}, {found.where}.",
                id="dashboard.W011",
            )


@checks.register(checks.Tags.compatibility)
def check_registrations(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """What apps registered with the console. A module that does not load is a warning: the console works
    without it, and its pages name it."""
    problems = registrations.load()
    messages: list[CheckMessage] = [
        checks.Warning(f"{problem.where}: {problem.what}", hint=problem.fix, id="dashboard.W010")
        for problem in problems
    ]
    messages += _registered_twice(extend.registered)
    for found in extend.registered:
        messages += (_error(found, wrong) for wrong in CHECKS[type(found.item)](found.item))
    return [*messages, *_unknown_types(extend.registered)]
