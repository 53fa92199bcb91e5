"""What an app tells the console about its workflows, in its own `console.py`.

The console finds every `<app>/console.py` when Django starts. Such a module calls `register()` with
pipelines, money, columns, panels and actions, and `register_api()` with the URLs of its own API. The
console's own panels and actions are registered in the same way. Nothing here knows a domain.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeVar

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, path
from django.utils.module_loading import module_has_submodule
from pydantic import BaseModel

from dashboard.access import Permission, Subject, Viewer
from dashboard.forms import ActionForm
from workers.registry.definitions import Problem, import_problem, short_path

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)


Ending = Literal["rejected", "cancelled"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline: `name` is the value of the Stage search attribute, `label` what people read."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages that runs of one workflow type pass, in order; `breakers` maps a stage to the dependency
    whose breaker guards it; `endings` maps stages in which a run may complete without having passed the
    pipeline to the condition that it is shown in. Only types with a pipeline have conditions; all others show
    Temporal's own status."""

    workflow_type: str
    title: str
    stages: tuple[Stage, ...]
    breakers: Mapping[str, str] = field(default_factory=dict)
    endings: Mapping[str, Ending] = field(default_factory=dict)
    labels: Mapping[str, str] = field(init=False, compare=False, repr=False)
    places: Mapping[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """`labels` and `places` (indices from 0) of the stages by name."""
        object.__setattr__(self, "labels", {item.name: item.label for item in self.stages})
        object.__setattr__(self, "places", {item.name: at for at, item in enumerate(self.stages)})


@dataclass(frozen=True, slots=True)
class Money:
    """Which attribute (a Double, in major units) is the amount of a run, and which memo holds its
    currency."""

    workflow_type: str
    attribute: str
    currency_memo: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the workflow list. `key` names a search attribute or a memo entry. `workflow_type`: the
    only type that has it; empty for all types with a pipeline. `beside_id`: its value stands beside the id
    where a run is one line of a list, and its label and value among the facts of the run's page; of several
    such columns of a type, the first one counts."""

    key: str
    label: str
    source: Literal["attribute", "memo"] = "attribute"
    kind: Literal["text", "money", "time", "number"] = "text"
    workflow_type: str = ""
    beside_id: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """How the page of a run draws the answer to a query, where the workflow declares that query.

    `draw(run, answer)` makes what the template knows as `model`; `run` is a `temporal_api.run.RunPage`,
    `answer` an instance of `model`, with defaults where fields are missing or wrong, or the plain JSON where
    `model` is None. None in return: no panel. `order` sorts the panels of a place, lowest first.
    """

    query: str
    title: str
    template: str
    model: type[BaseModel] | None = None
    draw: Callable[[Any, Any], Any] = lambda run, answer: answer
    place: Literal["main", "side"] = "main"
    order: int = 50
    source: str = "from the workflow"


@dataclass(frozen=True, slots=True)
class Target:
    """The run on which a viewer may perform actions, as far as it is known.

    `signals` and `queries`: names that the workflow declares (`signals` None: not known). `attributes`:
    search attributes. `answers`: models by the query that they answer. `held`: ids of workflows that the
    breaker holds, where the run is one.
    """

    viewer: Viewer
    subject: Subject
    workflow_type: str = ""
    open: bool = True
    signals: frozenset[str] | None = None
    queries: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    held: Sequence[str] = ()

    def answer(self, query: str, model: type[M]) -> M | None:
        """The answer to a query; None where there is none (yet)."""
        found = self.answers.get(query)
        return found if isinstance(found, model) else None

    def declares(self, signal: str) -> bool:
        """Does the workflow say that it has a handler for this signal?"""
        return self.signals is not None and signal in self.signals

    def attribute_has(self, name: str, value: str) -> bool:
        """Is a search attribute this value, or a list that holds it?"""
        found = self.attributes.get(name)
        return value in found if isinstance(found, list) else found == value


@dataclass(frozen=True, slots=True)
class Offer:
    """An action makes sense on a target now. `why`: the reason for which the workflow would refuse it from
    this viewer; the button is disabled then, with the reason beside it."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Actions of one group share a form and its reason. The group without a title is the main form; others
    fold away, unless they are `unfolded`. `about` is a sentence or two above the fields."""

    title: str = ""
    about: str = ""
    unfolded: bool = False


Place = Literal["run", "approvals", "breakers", "bulk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that a viewer may do to a run: a signal with a Decision, and the workflow's verdict on it.

    `name` stands in addresses and in the audit log. `signal` empty: Temporal's own cancellation is requested.
    `label` is the word on the button, `done` begins the sentence that says it was applied: "Approved
    order-1." `offered` says whether it makes sense on a target; called for open runs, by every page that
    shows the action. `places`: pages that do; `bulk` are lists in which many runs are chosen, whose state was
    not read. `tone` stop is for what destroys or cannot be undone: its form requires a reason. `key` opens
    the form from the keyboard. `order` sorts buttons and forms, lowest first.
    """

    name: str
    signal: str
    label: str
    done: str
    permission: Permission
    offered: Callable[[Target], Offer | None]
    form: type[ActionForm] = ActionForm
    group: Group = Group()
    places: frozenset[Place] = frozenset({"run"})
    tone: Literal["go", "stop"] = "go"
    key: str = ""
    order: int = 50

    def __post_init__(self) -> None:
        if not self.name.replace("-", "_").isidentifier():
            raise ImproperlyConfigured(f"Action {self.name!r}: a name has letters, digits, _ and - only.")
        if self.tone == "stop" and not self.form.reason_required:
            raise ImproperlyConfigured(f"Action {self.name}: with tone stop, its form must require a reason.")


Item = Pipeline | Money | Column | Panel | Action


@dataclass(frozen=True, slots=True)
class Registered:
    """An item, and the call that registered it: name of the module, and file:line."""

    item: Item
    module: str
    where: str


# What is registered: pipelines and money by workflow type, columns by type and key in the order of their
# registration.
pipelines: dict[str, Pipeline] = {}
moneys: dict[str, Money] = {}
columns: dict[tuple[str, str], Column] = {}
registered: list[Registered] = []
problems: list[Problem] = []  # modules that could not be imported
_panels: dict[str, Panel] = {}
_actions: dict[str, Action] = {}
_apis: dict[str, Any] = {}


def register(*items: Item) -> None:
    """Add what an app has; the same key again replaces the one before. `manage.py check` reports where two
    apps have one key, and what cannot be shown."""
    caller = sys._getframe(1)
    module, where = caller.f_globals.get("__name__", ""), f"{caller.f_code.co_filename}:{caller.f_lineno}"
    for item in items:
        registered.append(Registered(item, module, short_path(where)))
        match item:
            case Pipeline():
                pipelines[item.workflow_type] = item
            case Money():
                moneys[item.workflow_type] = item
            case Column():
                columns[item.workflow_type, item.key] = item
            case Panel():
                _panels[item.query] = item
            case Action():
                _actions[item.name] = item


def panels() -> list[Panel]:
    """Panels in the order in which a page shows them."""
    return sorted(_panels.values(), key=lambda panel: panel.order)


def actions(place: Place | None = None) -> dict[str, Action]:
    """Actions by name, in the order of their buttons: all, or those of a place."""
    found = sorted(_actions.values(), key=lambda action: action.order)
    return {action.name: action for action in found if place is None or place in action.places}


@cache
def discover() -> None:
    """Import every app's `console.py`, once. One that does not import is logged and kept in `problems`: what
    other apps registered is shown all the same."""
    for config in apps.get_app_configs():
        name = f"{config.name}.console"
        if module_has_submodule(config.module, "console"):
            try:
                import_module(name)
            except Exception as error:  # whatever a module does when it is imported
                problems.append(import_problem(name, error))
                logger.exception("%s", problems[-1])


def register_api(prefix: str, urls: Any) -> None:
    """Serve an app's URLs (what `path()` takes as its second argument) under `/api/<prefix>`."""
    _apis[prefix] = urls


def api_urls() -> list[URLPattern | URLResolver]:
    """URL patterns of all registered APIs, for `/api/`."""
    discover()
    return [path(prefix, urls) for prefix, urls in _apis.items()]
