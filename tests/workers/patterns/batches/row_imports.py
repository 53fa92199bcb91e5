"""Rows to be imported in batches, a witness of each, and workflows that use the helpers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.patterns.batches.activities import batch_activity
from workers.patterns.batches.messages import Notice, Page, PageQuery
from workers.patterns.breaker.names import UNAVAILABLE, circuit_open


class Rows:
    """Rows to import, and what became of them.

    begun, done: count by key. poison: rows that fail. stops: a row waits until its event is set.
    away, refused: every row meets an outage, or the open breaker. troubles: rows that meet one of these once.
    """

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.poison: set[int] = set()
        self.stops: dict[int, asyncio.Event] = {}
        self.troubles: dict[int, str] = {}
        self.away = False
        self.refused = False  # by the breaker of the shelf, as its interceptor would
        self.notices: list[Notice] = []
        self.deaf = False
        self.length = 10_000
        self.pages: list[PageQuery] = []

    def activities(self) -> list[Callable[..., Any]]:
        @batch_activity("import_rows")
        async def import_rows(row: int, key: str) -> None:
            self.begun[key] += 1
            trouble = self.troubles.pop(row, "")
            if self.refused or trouble == "refused":
                raise circuit_open("shelf", never_sent=False)
            if self.away or trouble == "away":
                raise ApplicationError("The shelf is away.", type=UNAVAILABLE)
            if row in self.poison:
                raise ValueError(f"row {row} is wrong")
            if row in self.stops:
                await self.stops[row].wait()
            self.done[key] += 1

        @activity.defn(name="read_rows")
        async def read_rows(query: PageQuery) -> Page:
            self.pages.append(query)
            return Page(items=list(range(query.first, min(query.first + query.limit, self.length))))

        @activity.defn(name="tell_rows")
        async def tell_rows(notice: Notice) -> None:
            if self.deaf:
                raise ApplicationError("Nobody listens.", non_retryable=True)
            self.notices.append(notice)

        return [import_rows, read_rows, tell_rows]
