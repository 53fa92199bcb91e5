"""Values and text without secrets.

A field is hidden by its name, wherever it lies: `password`, `credit_card`, `ssn`, `api_key`, and what
REDACTED_FIELDS adds. Case and separators do not count: `apiKey`, `API-KEY` and `api key` are one name.
Pages, logs and the audit show nothing that did not pass through here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

# Here and not in a function: workflow code logs, and must not import.
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from pydantic import BaseModel

SENSITIVE = ("password", "credit_card", "ssn", "api_key")
MASK = "[redacted]"
_DEEPEST = 60  # values inside of that many others are cut, as a cycle would never end
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def names() -> tuple[str, ...]:
    """The names in force: SENSITIVE and REDACTED_FIELDS."""
    if not settings.configured:
        return SENSITIVE
    return (*SENSITIVE, *settings.WORKERS.redacted_fields)  # type: ignore[misc] # as in workers.conf


@lru_cache(maxsize=4096)
def normal(name: object) -> str:
    """A name without case and separators."""
    return _SEPARATORS.sub("", str(name).lower())


@lru_cache(maxsize=64)
def normals(sensitive: tuple[str, ...]) -> frozenset[str]:
    return frozenset(filter(None, map(normal, sensitive)))


@lru_cache(maxsize=2)
def _rules_when(configured: bool) -> tuple[frozenset[str], re.Pattern[str]]:
    sensitive = names()
    return normals(sensitive), _pairs(sensitive)


def _rules() -> tuple[frozenset[str], re.Pattern[str]]:
    """Hidden names, and the pattern of their pairs in text. A page asks for them a thousand times."""
    return _rules_when(settings.configured)


@receiver(setting_changed)
def _changed(**_: Any) -> None:
    _rules_when.cache_clear()


def redact(value: Any) -> Any:
    """A copy of `value` that is safe to show: what hides behind a sensitive name is `[redacted]`.

    Models and dataclasses become dicts; strings are looked through as text. None hides nothing and stays.
    """
    return _redacted(value, _rules()[0], _DEEPEST)


def redact_named(name: str, value: Any) -> Any:
    """As `redact`, of one value that stands under `name`."""
    hidden = _rules()[0]
    return MASK if value is not None and normal(name) in hidden else _redacted(value, hidden, _DEEPEST)


def _fields(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, BaseModel):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return None


def _redacted(value: Any, hidden: frozenset[str], depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, (int, float, datetime)):
        return value
    fields = _fields(value)
    if fields is None and not isinstance(value, (list, tuple, set, frozenset)):
        return value
    if not depth:
        return "…"
    if fields is not None:
        return {
            name: MASK if item is not None and normal(name) in hidden else _redacted(item, hidden, depth - 1)
            for name, item in fields.items()
        }
    items = [_redacted(item, hidden, depth - 1) for item in value]
    return tuple(items) if isinstance(value, tuple) else items


def spelled(name: str) -> str:
    """A regular expression for `name` in any case (the caller's flag) and with any separators."""
    return "[-_. ]?".join(map(re.escape, _WORDS.findall(name))) or re.escape(name)


@lru_cache(maxsize=64)
def _pairs(sensitive: tuple[str, ...]) -> re.Pattern[str]:
    """`name=value`, `name: value`, `"name": "value"`, also escaped; a value that opens a bracket goes to its
    end, or to the end of the text when there is another bracket in it."""
    key = "|".join(map(spelled, sensitive))
    quoted = r'\\+"[^"]*"|"(?:\\.|[^"\\])*"?|\\+\'[^\']*\'|\'(?:\\.|[^\'\\])*\'?'
    nested = r"\{[^{}\[\]]*\}|\[[^{}\[\]]*\]|[{\[].*"
    return re.compile(
        rf"(?P<key>(?<![a-z])(?:{key})(?:\\*[\"'])?\s*(?:=>?|:)\s*)(?:{quoted}|{nested}|(?!null\b|None\b)[^\s,;&)}}\]]+)",
        re.IGNORECASE | re.DOTALL,
    )


def redact_text(text: str) -> str:
    """A log line or a failure message without the values of `password=…` and `"api_key": "…"`."""
    if ":" not in text and "=" not in text:  # as most text is, on its way to a page
        return text
    return _rules()[1].sub(rf"\g<key>{MASK}", text)
