"""Typed JSON: the types of values are declared, or stand in tags beside the JSON.

Built on the SDK's pydantic converter, and compatible with it both ways: the encoding is `json/plain`, the
data is the JSON that pydantic writes, and only the metadata may hold more (see `tags`). Differences: NaN and
the infinities are the strings "NaN", "Infinity" and "-Infinity", as JSON has none (fields of models are null,
as pydantic has it, unless the model says otherwise); bytes that are no text are base64. Datetimes keep their
offset (not the name of their zone), and naive ones stay naive.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaSerializer, from_json, to_json
from pydantic_core.core_schema import any_schema
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    SerializationContext,
)

from workers.payloads.errors import PayloadUnreadable, PayloadUnwritable
from workers.payloads.policy import Policy
from workers.payloads.tags import METADATA, Spec, restore, spec_of

_PLAIN_JSON = b"json/plain"
_python = SchemaSerializer(any_schema())


# Shared by all runs; small, as it keeps alive what the sandbox loads for one of them.
_kept_adapter = lru_cache(maxsize=256)(TypeAdapter)


def _adapter(hint: Any) -> TypeAdapter[Any]:
    try:
        hash(hint)
    except TypeError:
        return TypeAdapter(hint)
    return _kept_adapter(hint)


def _json(value: Any) -> tuple[bytes, Spec | None]:
    """The JSON and the tags of a value. Raises PayloadUnwritable."""
    try:
        return to_json(value, inf_nan_mode="strings"), spec_of(value)
    except ValueError:
        return _json_with_bytes(value)


def _json_with_bytes(value: Any) -> tuple[bytes, Spec | None]:
    """For bytes that are no text. Models say by themselves how their bytes are written, so they are taken
    apart first; the tags then say which strings are bytes."""
    try:
        tree = _python.to_python(value, mode="python", by_alias=True)
        return to_json(tree, inf_nan_mode="strings", bytes_mode="base64"), _binary(spec_of(tree))
    except (ValueError, TypeError, RecursionError) as error:
        raise PayloadUnwritable(f"A {type(value).__name__} cannot be sent as JSON: {error}") from error


def _binary(spec: Any) -> Any:
    """The same tags, for a payload whose bytes are all base64."""
    if isinstance(spec, dict):
        return {name: _binary(inside) for name, inside in spec.items()}
    if isinstance(spec, list):
        return [spec[0], _binary(spec[1])]
    return "base64" if spec == "bytes" else spec


class TypedJSONConverter(PydanticJSONPlainPayloadConverter):
    """`json/plain`, both ways."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy

    def to_payload(self, value: Any) -> Payload:
        """Raises PayloadUnwritable, SensitiveField."""
        data, spec = _json(value)
        if self._policy.sensitive(data):
            data = self._policy.redact_json(data)
        if spec is None:
            return Payload(metadata={"encoding": _PLAIN_JSON}, data=data)
        return Payload(metadata={"encoding": _PLAIN_JSON, METADATA: to_json(spec)}, data=data)

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """Raises pydantic's ValidationError for what the hint refuses, PayloadUnreadable, UnknownTag."""
        untyped = type_hint is None or type_hint is Any
        tags = payload.metadata.get(METADATA)
        if tags is None:
            return _parsed(payload.data) if untyped else _adapter(type_hint).validate_json(payload.data)
        if untyped:
            return restore(_parsed(payload.data), _parsed(tags))
        adapter = _adapter(type_hint)
        try:
            # Tags first: where the type is vague (Any, a union with str) they know better.
            return adapter.validate_python(restore(_parsed(payload.data), _parsed(tags)))
        except (ValidationError, PayloadUnreadable):
            return adapter.validate_json(payload.data)


def _parsed(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError as error:
        raise PayloadUnreadable(f"A payload is not JSON: {error}") from error


class TypedPayloadConverter(CompositePayloadConverter):
    """The SDK's converters (null, bytes, protobuf), then typed JSON."""

    def __init__(self, policy: Policy = Policy()) -> None:  # noqa: B008 (frozen)
        self._policy = policy
        super().__init__(
            *(
                TypedJSONConverter(policy) if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Raises PayloadUnwritable, SensitiveField, PayloadTooLarge."""
        return self._policy.check_size(values, super().to_payloads(values))

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Raises PayloadUnreadable, and pydantic's ValidationError for what a hint refuses."""
        try:
            return super().from_payloads(payloads, type_hints)
        except KeyError as error:
            raise PayloadUnreadable(str(error.args[0])) from error

    def with_context(self, context: SerializationContext) -> TypedPayloadConverter:
        """None of the converters has use for it."""
        return self
