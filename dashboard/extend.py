"""What an app tells the console about its workflows, in its own `console.py`.

The console finds every `<app>/console.py` when Django starts. Such a module calls `register()` with
lines, money and columns, and `register_api()` with the URLs of its own API. Nothing here knows a domain.
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
    """A station of a line: `name` is the value of the Stage search attribute, `label` what people read."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """The stages that runs of one workflow type pass, in order; `guards` maps a stage to the dependency
    whose breaker stands before it. Only types with a line have conditions; all others show Temporal's
    own status."""

    workflow_type: str
    title: str
    stages: tuple[Stage, ...]
    guards: Mapping[str, str] = field(default_factory=dict)

    def label(self, stage: str) -> str:
        """What people read for a stage, also for one that the line does not have."""
        return next(
            (item.label for item in self.stages if item.name == stage), stage.replace("_", " ").capitalize()
        )

    def place(self, stage: str) -> int | None:
        """Index of a stage, from 0; None where the line does not have it."""
        return next((at for at, item in enumerate(self.stages) if item.name == stage), None)


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


_lines: dict[str, Line] = {}
_moneys: dict[str, Money] = {}
_columns: dict[str, Column] = {}
_apis: dict[str, Any] = {}


def register(*items: Line | Money | Column) -> None:
    """Add what an app has; the same key again replaces the one before."""
    for item in items:
        match item:
            case Line():
                _lines[item.workflow_type] = item
            case Money():
                _moneys[item.workflow_type] = item
            case Column():
                _columns[item.key] = item


def lines() -> dict[str, Line]:
    """Lines by workflow type."""
    return _lines


def moneys() -> dict[str, Money]:
    """Money by workflow type."""
    return _moneys


def columns() -> list[Column]:
    """Columns in the order in which they were registered."""
    return list(_columns.values())


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
