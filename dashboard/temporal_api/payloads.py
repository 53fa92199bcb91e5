"""Payloads as people may read them: redacted. One that cannot be decoded is shown as what it is, and breaks
nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from workers.payloads.redaction import redact, redact_named

PLAIN = (b"json/plain", b"binary/null")


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A payload that this console cannot read. `size` is in bytes."""

    encoding: str
    size: int

    def __str__(self) -> str:
        return f"unreadable: {self.encoding}, {self.size} bytes"


def _undecodable(payload: Payload) -> Undecodable:
    encoding = payload.metadata.get("encoding", b"no encoding").decode("utf-8", "replace")
    return Undecodable(encoding[:100], len(payload.data))


def _plain(payload: Payload) -> Any:
    """A payload that no codec needs to touch."""
    if payload.metadata.get("encoding") == b"binary/null":
        return None
    try:
        return json.loads(payload.data)
    except (ValueError, RecursionError):
        return _undecodable(payload)


async def _through(client: Client, payload: Payload) -> Any:
    """Through codec and converter of the client. Whatever they raise is about this payload alone."""
    try:
        # Raw first: a page shows the JSON, whatever types its tags would make of it in a worker.
        [raw] = await client.data_converter.decode([payload], [RawValue])
        if raw.payload.metadata.get("encoding") in PLAIN:
            return _plain(raw.payload)
        return client.data_converter.payload_converter.from_payload(raw.payload)
    except Exception:  # whatever a codec raises is about this payload alone, and the page goes on
        return _undecodable(payload)


async def decode(client: Client, payloads: Iterable[Payload]) -> list[Any]:
    """The values, in order and redacted; `Undecodable` stands for each that cannot be read. Never raises for
    a payload."""
    out = []
    for payload in payloads:
        plain = payload.metadata.get("encoding") in PLAIN
        value = _plain(payload) if plain else await _through(client, payload)
        out.append(value if isinstance(value, Undecodable) else redact(value))
    return out


def named(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    """Decoded values under their names, which say too what has to be hidden."""
    pairs = zip(names, values, strict=True)
    return {name: item if isinstance(item, Undecodable) else redact_named(name, item) for name, item in pairs}


def shorten(values: Sequence[Any], limit: int = 4000) -> list[str]:
    """Each value as indented JSON for a page, cut at `limit` characters with a word on what was cut."""
    out = []
    for value in values:
        text = str(value) if isinstance(value, Undecodable) else _json(value)
        more = len(text) - limit
        out.append(text if more <= 0 else f"{text[:limit]}\n… and {more:,} more characters")
    return out


def _json(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "too deep to be shown"
