"""One text for one value, whichever process writes it: the same in every process, which `hash()` is not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python


def canonical(value: Any, *, exclude_defaults: bool = False) -> str:
    """JSON with sorted keys, sorted sets and times in UTC.

    exclude_defaults: leave out fields of models and dataclasses that have their default, so that a field
        which a later build adds changes nothing.
    Raises PydanticSerializationError for what has no JSON, such as an open file.
    """
    plain = _plain(value, exclude_defaults)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any, *, exclude_defaults: bool = False) -> str:
    """SHA-256 of the canonical text, as hex."""
    return hashlib.sha256(canonical(value, exclude_defaults=exclude_defaults).encode()).hexdigest()


_NO_DEFAULT = object()


def _fields(value: Any) -> Iterator[tuple[str, Any, Any]] | None:
    """Name, value and default of each field; None for what is neither a model nor a dataclass."""
    if isinstance(value, BaseModel):
        known = type(value).model_fields
        return ((name, item, _default(known.get(name))) for name, item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return ((field.name, getattr(value, field.name), _default(field)) for field in fields)
    return None


def _default(field: Any) -> Any:
    if isinstance(field, FieldInfo):
        return (
            _NO_DEFAULT
            if field.is_required()
            else field.get_default(call_default_factory=True, validated_data={})
        )
    if isinstance(field, dataclasses.Field):
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        return _NO_DEFAULT if field.default is dataclasses.MISSING else field.default
    return _NO_DEFAULT  # an extra field of a model


def _plain(value: Any, exclude_defaults: bool) -> Any:
    if (fields := _fields(value)) is not None:
        return {
            name: _plain(item, exclude_defaults)
            for name, item, default in fields
            if not (exclude_defaults and item == default)
        }
    if isinstance(value, Enum):
        return _plain(value.value, exclude_defaults)
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, exclude_defaults) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item, exclude_defaults) for item in value), key=canonical)
    if isinstance(value, list | tuple):
        return [_plain(item, exclude_defaults) for item in value]
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).isoformat()
    return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings")


def _key(key: Any) -> str:
    plain = _plain(key, False)
    return plain if isinstance(plain, str) else canonical(plain)
