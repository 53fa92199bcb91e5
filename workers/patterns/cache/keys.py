"""Keys of cached results: the same for the same question, in every process and after every restart. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

LONGEST_PREFIX = 60  # characters of tenant and of name; the digest tells apart what they do not


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys and sets in order, no spaces. Raises ValueError for what has none,
    such as NaN or an object of an unknown class.

    Python's `hash()` is no use here: of text it is another in each process.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def cache_key(name: str, arguments: Sequence[Any], *, tenant: str = "", version: str = "") -> str:
    """`<tenant>:<name>:<sha256>` in characters that every backend takes."""
    text = canonical([tenant, name, version, list(arguments)])
    prefix = ":".join(quote(part, safe="")[:LONGEST_PREFIX] for part in (tenant, name))
    return f"{prefix}:{hashlib.sha256(text.encode()).hexdigest()}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _plain(dict(value))
    if isinstance(value, Mapping):
        return {_name(key): _plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item) for item in value), key=canonical)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return to_jsonable_python(value, bytes_mode="base64")


def _name(key: Any) -> str:
    return key if isinstance(key, str) else canonical(key)
