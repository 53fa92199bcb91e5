"""The list of workflows: one page of rows and the counts by status, read side by side."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from dashboard.access import Verb, Viewer, authorise
from dashboard.live.cached_read import Seen, seen
from dashboard.query.query import Filter, Refused, scoped
from dashboard.temporal_api.known_attributes import attribute_types
from dashboard.temporal_api.rows import Row, attributes_of, read_rows
from dashboard.temporal_api.scan import Scan, Total, glance
from workers.client.connection import get_client
from workers.client.errors import BadQuery, rpc_errors
from workers.client.visibility import Comparison
from workers.conf import conf

SIZES = (20, 50, 100)
# Pages looked through for rows that only we can compare exactly, before the rest is left to "next".
MOST_PAGES = 10
STATEMENT = "select * from table1 where "  # what the server puts before a query
SYSTEM_FIELDS = {"WorkflowId": "workflow_id", "RunId": "run_id", "WorkflowType": "workflow_type"}


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list. `counts` are by Temporal's status name, for the filter without its status;
    `total` is for all of it. Both are None where rows had to be compared here (`exact`). `scan` has the
    totals by condition of all open runs; it is None until one was made, and not `scan_complete` above
    the limit."""

    query: str
    rows: list[Row]
    next_token: bytes
    types: dict[str, int]
    counts: dict[str, int] | None = None
    scan: dict[str, Total] | None = None
    scan_complete: bool = True
    exact: list[Comparison] = field(default_factory=list)

    def total(self, status: str) -> int | None:
        """How many match, with the status that the filter asks for."""
        if self.counts is None:
            return None
        return self.counts.get(status, 0) if status else sum(self.counts.values())


def _timeout() -> timedelta:
    return timedelta(seconds=conf().rpc_timeout)


def _value(row: Row, name: str) -> Any:
    return getattr(row, SYSTEM_FIELDS[name]) if name in SYSTEM_FIELDS else row.attributes.get(name)


async def _page(
    client: Client, query: str, size: int, token: bytes, exact: list[Comparison]
) -> tuple[list[Row], bytes]:
    """Rows of one page and the token of the next. With `exact` comparisons pages without a match are
    passed over."""
    for _ in range(MOST_PAGES):
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace, page_size=size, query=query, next_page_token=token
        )
        with rpc_errors():
            answer = await client.workflow_service.list_workflow_executions(
                request, retry=True, timeout=_timeout()
            )
        found = await read_rows(client, answer.executions)
        rows = [row for row in found if all(item.matches(_value(row, item.name)) for item in exact)]
        token = answer.next_page_token
        if rows or not token or not exact:
            break
    return rows, token


async def _counts(client: Client, query: str) -> dict[str, int]:
    """Runs by Temporal's status name."""
    request = CountWorkflowExecutionsRequest(
        namespace=client.namespace, query=f"{query} GROUP BY ExecutionStatus".strip()
    )
    with rpc_errors():
        answer = await client.workflow_service.count_workflow_executions(
            request, retry=True, timeout=_timeout()
        )
    names = (attributes_of({"status": group.group_values[0]})["status"] for group in answer.groups)
    return {str(name): group.count for name, group in zip(names, answer.groups, strict=True)}


def _narrow(client: Client, viewer: Viewer, narrowed: Filter) -> Scan | None:
    """The scanned runs that the filter means, where that can be told from type alone; None where it
    cannot. Then no scan is begun either: it would take the server's time from the page that is drawn."""
    if replace(narrowed, status="", condition="", workflow_type="") != Filter():
        return None
    scan = glance(client, viewer)
    if scan is None or not narrowed.workflow_type:
        return scan
    return replace(scan, rows=[row for row in scan.rows if row.workflow_type == narrowed.workflow_type])


def _located(message: str, query: str, raw: str) -> str:
    """The server's message, and where in the text that was typed the error is: it counts in a statement
    of its own."""
    found = re.search(r"syntax error at position (\d+)", message)
    place = int(found[1]) - len(STATEMENT) - query.find(raw) if found and raw else 0
    return f"{message} (character {min(place, len(raw))} of your text)" if place > 0 else message


async def _read(viewer: Viewer, narrowed: Filter, size: int, token: bytes) -> Listing:
    client = await get_client()
    types = await attribute_types(client)
    query = scoped(viewer, narrowed.to_query(types))
    exact = [item for item in narrowed.comparisons(types).values() if item.exact]
    unfiltered = scoped(viewer, replace(narrowed, status="").to_query(types))
    try:
        if exact:
            (rows, after), counts = await _page(client, query, size, token, exact), None
        else:
            (rows, after), counts = await asyncio.gather(
                _page(client, query, size, token, exact), _counts(client, unfiltered)
            )
    except BadQuery as error:
        message = _located(error.message, query, narrowed.raw.strip())
        raise Refused({"raw" if narrowed.raw else "form": message}) from error
    except RPCError as error:
        if not token:
            raise
        raise Refused({"form": "There is no such page of the list; start from the first one."}) from error
    scan = _narrow(client, viewer, narrowed)
    return Listing(
        query=narrowed.to_query(types),
        rows=rows,
        next_token=after,
        types=types,
        counts=counts,
        scan=scan.by_condition() if scan else None,
        scan_complete=scan.complete if scan else True,
        exact=exact,
    )


async def read_list(
    viewer: Viewer, narrowed: Filter, *, size: int = 100, token: bytes = b""
) -> Seen[Listing]:
    """One page of the list for a viewer, or the last one seen when Temporal is away. Raises Refused for
    a filter that we or the server cannot use, with a sentence by field (`form` where it is not one
    field's)."""
    authorise(viewer, Verb.VIEW)
    detail = (narrowed.to_params(), size, token)
    return await seen("workflows", viewer, lambda: _read(viewer, narrowed, size, token), detail=detail)
