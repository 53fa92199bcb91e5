"""URL converters."""

from __future__ import annotations

from urllib.parse import quote, unquote


class TemporalId:
    """A workflow or run id in one path segment.

    Temporal allows any text, also slashes, so the id is quoted before Django quotes the path: a slash
    travels as %252F, and plain ids look as they are. Temporal takes 1,000 bytes by default, which are three
    times as many characters when they are quoted; a server may be configured to take more.
    """

    regex = "[^/]{1,12000}"

    def to_python(self, value: str) -> str:
        return unquote(value)

    def to_url(self, value: str) -> str:
        return quote(value, safe="")
