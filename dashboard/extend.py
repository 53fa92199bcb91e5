"""What an app tells the console about its workflows, in its own `console.py`.

The console finds every `<app>/console.py` when Django starts. Such a module calls `register()` with
pipelines, money and columns, and `register_api()` with the URLs of its own API. Nothing here knows a domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from django.urls import URLPattern, URLResolver, path
from django.utils.module_loading import autodiscover_modules


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline: `name` is the value of the Stage search attribute, `label` what people read."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages that runs of one workflow type pass, in order; `breakers` maps a stage to the dependency
    whose breaker guards it. Only types with a pipeline have conditions; all others show Temporal's own
    status."""

    workflow_type: str
    title: str
    stages: tuple[Stage, ...]
    breakers: Mapping[str, str] = field(default_factory=dict)
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
    """A column of the workflow list. `key` names a search attribute or a memo entry."""

    key: str
    label: str
    source: Literal["attribute", "memo"] = "attribute"
    kind: Literal["text", "money", "time", "number"] = "text"


# What is registered: pipelines and money by workflow type, columns by key in the order of their registration.
pipelines: dict[str, Pipeline] = {}
moneys: dict[str, Money] = {}
columns: dict[str, Column] = {}
_apis: dict[str, Any] = {}


def register(*items: Pipeline | Money | Column) -> None:
    """Add what an app has; the same key again replaces the one before."""
    for item in items:
        match item:
            case Pipeline():
                pipelines[item.workflow_type] = item
            case Money():
                moneys[item.workflow_type] = item
            case Column():
                columns[item.key] = item


@cache
def discover() -> None:
    """Import every app's `console.py`, once."""
    autodiscover_modules("console")


def register_api(prefix: str, urls: Any) -> None:
    """Serve an app's URLs (what `path()` takes as its second argument) under `/api/<prefix>`."""
    _apis[prefix] = urls


def api_urls() -> list[URLPattern | URLResolver]:
    """URL patterns of all registered APIs, for `/api/`."""
    discover()
    return [path(prefix, urls) for prefix, urls in _apis.items()]
