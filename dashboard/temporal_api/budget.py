"""How much of what workflows hold one page may unpack: anyone who may start a workflow can fill a page."""

from __future__ import annotations

from dataclasses import dataclass

PAGE_BYTES = 4 * 1024 * 1024  # unpacked payloads of one read
ITEM_BYTES = 256 * 1024  # one payload; a page shows 4,000 characters of it
CELL_BYTES = 8 * 1024  # one memo entry in a list
ANSWER_BYTES = 1024 * 1024  # the answer to one query
HISTORY_BYTES = 4 * 1024 * 1024  # events, as the server sends them
OFF_LOOP = 32 * 1024  # bytes of JSON; from there on a thread does the work


@dataclass(slots=True)
class Budget:
    """Bytes that one read may still unpack; `rows.decode` takes from them. `largest` bounds each payload."""

    left: int = PAGE_BYTES
    largest: int = ITEM_BYTES
