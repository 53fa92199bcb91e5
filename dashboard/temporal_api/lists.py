"""Lists and counts of runs, straight from the server.

Each query carries a scope, and each row is checked by that scope again, by its own TenantId: a row of another
tenant is dropped and logged. Counts have no rows to check; they rest on query text being written by us alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client

from dashboard.access import Scope
from dashboard.query.query import CompiledQuery, ScopedQuery, with_scope
from dashboard.temporal_api.budget import CELL_BYTES, Budget
from dashboard.temporal_api.rows import Row, attributes_of, read_rows, subject_of
from workers.client import attributes
from workers.client.errors import AnswerTooLarge, rpc_errors
from workers.client.visibility import OPEN_RUNS, Comparison, any_of, both
from workers.conf import conf

PAGE = 500
SPLIT = 8  # of a page that is too large for one answer
STRIDE = 100  # rows between which other requests of this process get their turn
# Pages looked through for rows that only we can compare exactly, before the rest is left to "next".
MOST_PAGES = 10
SYSTEM_FIELDS = {
    "WorkflowId": "workflow_id",
    "RunId": "run_id",
    "WorkflowType": "workflow_type",
    "TaskQueue": "queue",
}
LOOKED_AT = 100  # rows a call, of which the distinct values are taken
TYPES_KEPT_SECONDS = 15.0

logger = logging.getLogger(__name__)
_types: dict[tuple[int, str], tuple[float, dict[str, int]]] = {}


def _timeout() -> timedelta:
    return timedelta(seconds=conf().rpc_timeout)


async def attribute_types(client: Client) -> dict[str, int]:
    """Types of the custom search attributes that the server has, by name, at most 15 s old. Raises
    TemporalUnavailable."""
    key, now = (id(client), client.namespace), time.monotonic()
    at, types = _types.get(key, (0.0, {}))
    if not at or now - at > TYPES_KEPT_SECONDS:
        types = {name: int(kind) for name, kind in (await attributes.registered(client)).items()}
        _types.clear()  # one process has one client; what an old one knew is of no use
        _types[key] = (now, types)
    return types


async def _list(
    client: Client, query: ScopedQuery, size: int, token: bytes
) -> ListWorkflowExecutionsResponse:
    """One page; fewer rows than `size` where they are too large for one answer."""
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=query.text, page_size=size, next_page_token=token
    )
    try:
        with rpc_errors():
            return await client.workflow_service.list_workflow_executions(
                request, retry=True, timeout=_timeout()
            )
    except AnswerTooLarge:
        if size == 1:
            raise
        return await _list(client, query, max(size // SPLIT, 1), token)


def _admitted(query: ScopedQuery, rows: list[Row]) -> list[Row]:
    """The rows that the scope admits. The server should list no other; one that it does is an error."""
    kept = [row for row in rows if query.scope.admits(subject_of(row))]
    if dropped := len(rows) - len(kept):
        text = "Dropped %d runs of other tenants than %s, which the server listed for the query %r."
        logger.error(text, dropped, query.scope.tenants, query.text)
    return kept


async def list_rows(client: Client, query: ScopedQuery, most: int) -> tuple[list[Row], bool]:
    """Up to `most` rows, and whether these are all. Raises BadQuery, TemporalUnavailable."""
    rows, token, budget = list[Row](), b"", Budget(largest=CELL_BYTES)
    while True:
        answer = await _list(client, query, min(PAGE, most - len(rows) + 1), token)
        for start in range(0, len(answer.executions), STRIDE):
            some = answer.executions[start : start + STRIDE]
            rows += _admitted(query, await read_rows(client, some, budget))
            await asyncio.sleep(0)
        token = answer.next_page_token
        if not token or len(rows) > most:
            return rows[:most], len(rows) <= most


def _value(row: Row, name: str) -> Any:
    return getattr(row, SYSTEM_FIELDS[name]) if name in SYSTEM_FIELDS else row.attributes.get(name)


def _matching(rows: list[Row], exact: Sequence[Comparison]) -> list[Row]:
    return [row for row in rows if all(item.matches(_value(row, item.name)) for item in exact)]


async def list_page(client: Client, query: CompiledQuery, size: int, token: bytes) -> tuple[list[Row], bytes]:
    """Rows of one page, and the token of the next. With exact comparisons pages without a match are passed
    over. Raises BadQuery, TemporalUnavailable; CallFailed, which is one, also for a token that is none."""
    for _ in range(MOST_PAGES):
        answer = await _list(client, query.scoped, size, token)
        token = answer.next_page_token
        rows = _admitted(query.scoped, await read_rows(client, answer.executions))
        if query.exact:
            rows = _matching(rows, query.exact)
        if rows or not token or not query.exact:
            break
    return rows, token


async def open_values(
    client: Client, scope: Scope, name: str, besides: Sequence[str], most: int
) -> list[str]:
    """Up to `most` values of a keyword that open runs have, without those in `besides`: each call leaves out
    what is known already, as the server cannot list distinct values. Raises TemporalUnavailable."""
    found: list[str] = []
    while len(found) < most:
        known = [*besides, *found]
        others = f"{name} NOT IN {any_of(known)}" if known else ""
        rows, _ = await list_rows(client, with_scope(scope, both(OPEN_RUNS, others)), LOOKED_AT)
        more = dict.fromkeys(value for row in rows if (value := _value(row, name)) and value not in known)
        if not more:
            break
        found += more
    return found[:most]


async def count(client: Client, query: ScopedQuery) -> int:
    """How many runs. Raises BadQuery, TemporalUnavailable."""
    with rpc_errors():
        return (await client.count_workflows(query.text, rpc_timeout=_timeout())).count


async def count_by_status(client: Client, query: ScopedQuery) -> dict[str, int]:
    """How many runs by Temporal's name of their status. Raises BadQuery, TemporalUnavailable."""
    request = CountWorkflowExecutionsRequest(
        namespace=client.namespace, query=f"{query.text} GROUP BY ExecutionStatus".strip()
    )
    with rpc_errors():
        answer = await client.workflow_service.count_workflow_executions(
            request, retry=True, timeout=_timeout()
        )
    names = (attributes_of({"status": group.group_values[0]})["status"] for group in answer.groups)
    return {str(name): group.count for name, group in zip(names, answer.groups, strict=True)}
