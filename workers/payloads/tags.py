"""Type tags: which values of an untyped payload are more than JSON, recorded beside the JSON.

The data of a payload is plain JSON that any language reads. Where a value would come back as something else
and no declared type says better (a Decimal in a dict, a bare date, a tuple), its tag goes into the payload's
metadata under `signalbox-types`, in the shape of the data:

    data       {"lines": [{"price": "1.20"}, {"price": "3.40"}], "seen": [1, 2]}
    metadata   {"lines": {"*": {"price": "decimal"}}, "seen": "set"}

`*` stands for all items of a list; `["tuple", {"0": "date"}]` is a container with tags inside. Tags are
looked up in an allow-list: a name in a payload never imports, builds or runs anything that is not on it.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from types import NoneType
from typing import Any, TypeVar, cast, get_type_hints
from uuid import UUID

from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic_core import to_json
from temporalio import workflow

from workers.payloads.errors import PayloadUnreadable, UnknownTag

Spec = str | list[Any] | dict[str, Any]
T = TypeVar("T", bound=type)

METADATA = "signalbox-types"
STAND_INS = ("[redacted]", "claim:")  # what stands where a secret was has no type but text
_PLAIN = frozenset({str, int, float, bool, NoneType})
_ITEMS: dict[type, str | None] = {list: None, tuple: "tuple", set: "set", frozenset: "frozenset"}
_DURATION = TypeAdapter(timedelta)

_names: dict[type, str] = {
    Decimal: "decimal",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
    UUID: "uuid",
    bytes: "bytes",
}
_readers: dict[str, Callable[[Any], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": _DURATION.validate_python,
    "uuid": UUID,
    "bytes": lambda text: text.encode(),
    "base64": base64.urlsafe_b64decode,
    "float": lambda value: value if value is None else float(value),  # models write null for NaN
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def payload_type(cls: T) -> T:
    """Put an Enum, a dataclass or a pydantic model on the allow-list, under its class name.

    Its values then come back as themselves also where nothing declares their type. Name it the same in
    every process; the name is in histories, so a renamed class needs its old one beside it. Raises
    RuntimeError in a file that the sandbox loads again for every run, each time as another class.
    """
    if workflow.unsafe.in_sandbox():
        raise RuntimeError(f"Declare {cls.__name__} in a module that its workflow file passes through.")
    known = _readers.get(cls.__name__)
    if known is not None and _names.get(cls) != cls.__name__:
        raise ValueError(f"Two payload types are called {cls.__name__}.")
    _names[cls] = cls.__name__
    _readers[cls.__name__] = _reader(cls)
    return cls


def _reader(cls: type) -> Callable[[Any], Any]:
    if issubclass(cls, Enum):
        return cls
    adapter: TypeAdapter[Any] = TypeAdapter(cls)
    return lambda tree: adapter.validate_json(to_json(tree))


def _declared(cls: Any) -> list[tuple[str, str, Any]]:
    """Attribute, JSON name and type of each field of a model or dataclass."""
    if issubclass(cls, BaseModel):
        return [(n, f.serialization_alias or n, f.annotation) for n, f in cls.model_fields.items()]
    try:
        return [(name, name, hint) for name, hint in get_type_hints(cls).items()]
    except (NameError, TypeError):  # a name that only type checkers know
        return []


@lru_cache(maxsize=256)
def _untyped(cls: Any) -> tuple[tuple[str, str], ...]:
    """Attribute and JSON name of the fields that no annotation types, or only in part; none of most classes,
    as their types say everything."""
    if not issubclass(cls, BaseModel) and not dataclasses.is_dataclass(cls):
        return ()
    return tuple((name, alias) for name, alias, hint in _declared(cls) if _vague(hint, frozenset()))


def _vague(hint: Any, seen: frozenset[Any]) -> bool:
    if hint in (Any, object, dict, list, tuple, set, frozenset):
        return True
    if isinstance(hint, type) and (issubclass(hint, BaseModel) or dataclasses.is_dataclass(hint)):
        if getattr(hint, "model_config", {}).get("extra") == "allow":
            return True
        return hint not in seen and any(_vague(inner, seen | {hint}) for _, _, inner in _declared(hint))
    return any(_vague(part, seen) for part in getattr(hint, "__args__", ()))


def spec_of(value: Any) -> Spec | None:
    """The tags that `value` needs; None for what JSON and the declared types say by themselves."""
    kind = type(value)
    if kind in _PLAIN:
        return "float" if kind is float and not isfinite(value) else None
    if kind in _names:
        return _names[kind]
    if isinstance(value, Mapping):
        return _of_fields(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        tag, inside = _container(kind), _of_items(value)
        return inside if tag is None else [tag, inside] if inside else tag
    if isinstance(value, RootModel):
        return spec_of(value.root)
    untyped, extra = _untyped(cast(Any, kind)), getattr(value, "__pydantic_extra__", None) or {}
    if not untyped and not extra:
        return None
    return _of_fields([*((alias, getattr(value, name, None)) for name, alias in untyped), *extra.items()])


def _container(kind: type) -> str | None:
    """The tag of a list (None), a tuple (also a named one), or a set."""
    return next((name for base, name in _ITEMS.items() if issubclass(kind, base)), None)


def _all_plain(items: Iterable[Any]) -> bool:
    """At the speed of C, as nearly everything is."""
    kinds = set(map(type, items))
    return kinds <= _PLAIN and float not in kinds


def _of_fields(pairs: Collection[tuple[Any, Any]]) -> Spec | None:
    if _all_plain(item for _, item in pairs):
        return None
    return {str(name): spec for name, item in pairs if (spec := spec_of(item)) is not None} or None


def _of_items(items: Collection[Any]) -> Spec | None:
    if _all_plain(items) or (set(map(type, items)) == {float} and all(map(isfinite, items))):
        return None
    specs = [spec_of(item) for item in items]
    if specs[0] is not None and all(spec == specs[0] for spec in specs):
        return {"*": specs[0]}
    return {str(index): spec for index, spec in enumerate(specs) if spec is not None} or None


def restore(tree: Any, spec: Any) -> Any:
    """`tree`, parsed from JSON, with its tagged values as they were. Changes `tree`.

    Raises UnknownTag, and PayloadUnreadable for tags that do not fit.
    """
    try:
        return _restored(tree, spec)
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RecursionError) as error:
        raise PayloadUnreadable(
            f"The type tags of a payload do not fit it: {type(error).__name__}."
        ) from error


def _restored(node: Any, spec: Any) -> Any:
    if isinstance(spec, str):
        if isinstance(node, str) and node.startswith(STAND_INS):
            return node
        if spec not in _readers:
            raise UnknownTag(f"No payload type is called {spec[:100]!r} here; register it by @payload_type.")
        return _readers[spec](node)
    if isinstance(spec, list):
        tag, inside = spec
        return _restored(_restored(node, inside), str(tag))
    for name, inside in spec.items():
        if isinstance(node, list):
            places = range(len(node)) if name == "*" else [int(name)] if name.isdecimal() else []
            for index in places:
                node[index] = _restored(node[index], inside)
        elif isinstance(node, dict) and name in node:
            node[name] = _restored(node[name], inside)
    return node
