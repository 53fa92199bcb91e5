"""The list of workflows: a filter from the URL, counts, one page of rows.

Everything is in the address, so that a list can be kept and shared. The same address answers htmx with the
part that changes, and everybody else with the page around it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from temporalio.client import Client

from dashboard import extend, registrations
from dashboard.access import ConsoleRequest, Verb, Viewer, client_for, console, for_viewer
from dashboard.live.cached_read import MAX_WAIT, Snapshot, cached_read
from dashboard.pages.workflows import form, table
from dashboard.query import query
from dashboard.query.query import CompiledQuery, Filter, Refused, compile_filter, list_url
from dashboard.states import STATES, STATUS_NAMES, Look
from dashboard.temporal_api.lists import attribute_types, count_by_status, list_page, open_values
from dashboard.temporal_api.rows import Row
from dashboard.temporal_api.scan import Total, condition_totals, latest_scan
from workers.client.errors import BadQuery, CallFailed, TemporalError, TemporalUnavailable
from workers.client.visibility import SYSTEM

logger = logging.getLogger(__name__)

TYPES_FRESH = 15.0  # seconds
MOST_TYPES = 50  # without a pipeline


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What the address asks for. `token` is where the page starts, `before` how many rows stand before it."""

    namespace: str
    narrowed: Filter
    size: int
    token: bytes
    before: int

    def url(self, **changes: str) -> str:
        """The address of the same list at another page or size."""
        base = list_url(self.namespace, self.narrowed)
        pairs = {} if self.size == form.SIZES[-1] else {"size": str(self.size)}
        pairs |= changes
        tail = "&".join(f"{key}={value}" for key, value in pairs.items())
        return f"{base}{'&' if '?' in base else '?'}{tail}" if tail else base


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list. `counts` are by Temporal's status name, for the filter without its status; None
    where rows had to be compared here. `by_condition` counts open runs, where the type alone narrows the
    list and a scan was made."""

    compiled: CompiledQuery
    types: dict[str, int]
    rows: list[Row]
    next_token: bytes
    counts: dict[str, int] | None = None
    by_condition: dict[str, Total] | None = None

    def total(self, status: str) -> int | None:
        """How many match, with the status that the filter asks for."""
        if self.counts is None:
            return None
        return self.counts.get(status, 0) if status else sum(self.counts.values())


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _list_request(request: ConsoleRequest) -> ListRequest:
    params = request.GET
    size = _number(params.get("size", ""), form.SIZES[-1])
    try:
        token = base64.urlsafe_b64decode(params.get("page", "").encode())
    except (binascii.Error, ValueError):
        token = b""
    before = _number(params.get("row", ""), 0) if token else 0
    size = size if size in form.SIZES else form.SIZES[-1]
    return ListRequest(request.viewer.namespace, Filter.from_params(params), size, token, before)


async def _by_condition(viewer: Viewer, narrowed: Filter) -> dict[str, Total] | None:
    """How many open runs are in each condition, where the type alone narrows the list; else None. Then no
    scan is begun either: it would take the server's time from the page that is drawn."""
    if replace(narrowed, status="", condition="", workflow_type="") != Filter():
        return None
    try:
        scan = await latest_scan(viewer)
        return await condition_totals(viewer, scan, narrowed.workflow_type) if scan else None
    except TemporalUnavailable as error:
        logger.warning("The list of workflows is shown without conditions: %s", error.message)
        return None


async def _counts(client: Client, compiled: CompiledQuery) -> dict[str, int] | None:
    """Counts by status; None where the server fails at them: the list itself may still come."""
    try:
        return await count_by_status(client, compiled.any_status)
    except TemporalUnavailable as error:
        logger.warning("The list of workflows is shown without counts: %s", error.message)
        return None


async def _read(viewer: Viewer, narrowed: Filter, size: int, token: bytes) -> Listing:
    client = await client_for(viewer)
    types = await attribute_types(client)
    compiled = compile_filter(narrowed, viewer, types)
    counts: dict[str, int] | None = None
    try:
        if compiled.exact:
            rows, after = await list_page(client, compiled, size, token)
        else:
            (rows, after), counts = await asyncio.gather(
                list_page(client, compiled, size, token),
                _counts(client, compiled),
            )
    except BadQuery as error:
        raise Refused({"raw" if narrowed.raw.strip() else "form": error.message}) from error
    except CallFailed as error:  # how servers answer a token that is none
        if not token:
            raise
        raise Refused({"form": "There is no such page of the list; start from the first one."}) from error
    return Listing(compiled, types, rows, after, counts, await _by_condition(viewer, narrowed))


async def read_list(
    viewer: Viewer, narrowed: Filter, *, size: int = form.SIZES[-1], token: bytes = b""
) -> Snapshot[Listing]:
    """One page of the list for a viewer, or its last snapshot while Temporal is unreachable. Raises Refused
    for a filter that we or the server cannot use, with a sentence by field (`form` where it is not one
    field's)."""
    detail = (narrowed, size, token)
    return await cached_read("workflows", viewer, lambda: _read(viewer, narrowed, size, token), detail=detail)


@dataclass(frozen=True, slots=True)
class Chip:
    """A link that narrows the list, or widens it again; `count` is what it would show, where that is
    known."""

    url: str
    word: str
    tone: str = ""
    count: str = ""
    on: bool = False


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _condition_chips(
    list_request: ListRequest, listing: Listing | None, types: dict[str, int] | None
) -> list[Chip]:
    """A chip for each condition of open runs, with how many there are where that is known. `types`: of the
    server's search attributes, None where they are not known; without those of conditions, there are none."""
    if not extend.pipelines or types is None or query.missing(types):
        return []
    chosen, totals = list_request.narrowed.condition, listing.by_condition if listing else None
    chips = []
    for name in dict.fromkeys([*query.OPEN] + [chosen] * (chosen in query.CONDITIONS)):
        shown, known = STATES["condition"][name], totals is not None and name in query.OPEN
        count = _count((totals or {}).get(name, Total("")).count if known else None)
        on = chosen == name
        url = list_url(
            list_request.namespace, replace(list_request.narrowed, condition="" if on else name, status="")
        )
        chips.append(Chip(url, shown.word, shown.tone, count, on))
    return chips


def _status_chips(list_request: ListRequest, listing: Listing | None) -> list[Chip]:
    """A chip for each of Temporal's statuses that occurs, and for the one that is chosen."""
    counts, chosen = (listing.counts or {} if listing else {}), list_request.narrowed.status
    known = {name: STATES["status"][number] for number, name in STATUS_NAMES.items()}
    names = [name for name in known if name in counts or name == chosen]
    chips = []
    for name in [*names, *(name for name in counts if name not in known)]:
        shown, on = known.get(name) or Look("rest", name), chosen == name
        url = list_url(list_request.namespace, replace(list_request.narrowed, status="" if on else name))
        # Paused runs are open too, so that beside them the running ones are called so.
        word = "Open" if name == "Running" and STATUS_NAMES[8] not in counts else shown.word
        chips.append(Chip(url, word, shown.tone, _count(counts.get(name)), on))
    return chips


def _list(list_request: ListRequest, listing: Listing) -> dict[str, Any]:
    """The table and the links to its other pages."""
    shown = table.columns(listing.rows, list_request.narrowed.workflow_type, {**SYSTEM, **listing.types})
    last = list_request.before + len(listing.rows)
    following = base64.urlsafe_b64encode(listing.next_token).decode()
    total = listing.total(list_request.narrowed.status)
    exact = listing.compiled.exact
    more = bool(following) and bool(listing.rows or exact) and (total is None or last < total)
    return {
        "columns": shown,
        "rows": table.body(listing.rows, shown),
        "first": list_request.before + 1,
        "last": last,
        "total": total,
        "compared": bool(exact),
        "next_url": list_request.url(page=following, row=str(last)) if more else "",
        "first_url": list_request.url() if list_request.token else "",
        "absent": query.missing(listing.types) if extend.pipelines else [],
        "query": listing.compiled.typed,
    }


async def _running_types(viewer: Viewer) -> list[str]:
    client = await client_for(viewer)
    return await open_values(client, for_viewer(viewer), "WorkflowType", list(extend.pipelines), MOST_TYPES)


async def _form(
    request: ListRequest,
    viewer: Viewer,
    listing: Listing | None,
    types: dict[str, int] | None,
    errors: dict[str, str],
) -> dict[str, Any]:
    """What stands around the list: the form of its filter, and what it is narrowed to."""
    running = await cached_read(
        "types", viewer, lambda: _running_types(viewer), fresh=TYPES_FRESH, max_wait=MAX_WAIT
    )
    known = registrations.attribute_types() if types is None else types
    absent = query.missing(known) if extend.pipelines else []
    rows, counted = (listing.rows, listing.counts or ()) if listing else ([], ())
    return {
        "form": form.FilterForm(request.narrowed, request.size, {**SYSTEM, **known}, absent, errors, counted),
        "types": form.types_known(running.value or [], (row.workflow_type for row in rows)),
        "chips": [
            Chip(list_url(request.namespace, wider), word) for wider, word in form.removable(request.narrowed)
        ],
    }


async def _types(viewer: Viewer) -> dict[str, int] | None:
    """Types of the server's search attributes, where there is no list; None while Temporal is unreachable."""
    try:
        return await attribute_types(await client_for(viewer))
    except TemporalError:
        return None


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """The list. 400 for a filter that cannot be used."""
    list_request, errors = _list_request(request), dict[str, str]()
    snapshot: Snapshot[Listing] = Snapshot(None, None)
    try:
        snapshot = await read_list(
            request.viewer, list_request.narrowed, size=list_request.size, token=list_request.token
        )
    except Refused as refused:
        errors = refused.errors
    listing = snapshot.value
    types = listing.types if listing else await _types(request.viewer)
    context = {
        "nav": "workflows",
        "title": "Workflows",
        "snapshot": snapshot,
        "errors": errors,
        "size": list_request.size,
        "condition_chips": _condition_chips(list_request, listing, types),
        "status_chips": _status_chips(list_request, listing),
        **(_list(list_request, listing) if listing else {}),
    }
    if not request.htmx:
        context |= await _form(list_request, request.viewer, listing, types, errors)
    name = "_region" if request.htmx else "page"
    return render(request, f"dashboard/workflows/{name}.html", context, status=400 if errors else 200)
