"""Keys of cached results: the same for the same question, in every process and after every restart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from workers.client.digest import digest

LONGEST_PREFIX = 60  # characters of tenant and of name; the digest tells apart what they do not


def cache_key(name: str, arguments: Sequence[Any], *, tenant: str = "", version: str = "") -> str:
    """`<tenant>:<name>:<sha256>` in characters that every backend takes.

    Raises PydanticSerializationError for arguments without a JSON form.
    """
    prefix = ":".join(quote(part, safe="")[:LONGEST_PREFIX] for part in (tenant, name))
    return f"{prefix}:{digest([tenant, name, version, list(arguments)])}"
