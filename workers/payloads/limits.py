"""How much one payload may unpack to, for a reader of payloads that any workflow may have sent: a console.

The SDK stands between the reader and the codecs, so the limit is a context variable: it holds for all that is
decoded within `at_most`, also in threads that `asyncio.to_thread` starts there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from workers.payloads.errors import PayloadOversized

_most: ContextVar[int | None] = ContextVar("most", default=None)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Within, a payload that unpacks to more bytes raises PayloadOversized, and is not unpacked further."""
    token = _most.set(size)
    try:
        yield
    finally:
        _most.reset(token)


def limit(default: int) -> int:
    """The limit in force, in bytes; `default` where a reader has set none."""
    most = _most.get()
    return default if most is None else min(most, default)


def check(size: int) -> None:
    """Raises PayloadOversized for more bytes than the limit that a reader has set."""
    most = _most.get()
    if most is not None and size > most:
        raise PayloadOversized(most)
