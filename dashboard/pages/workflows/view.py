"""The list of workflows and its region: a filter from the URL, counts, one page of rows."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard import extend
from dashboard.access import Verb
from dashboard.live.cached_read import Seen
from dashboard.pages.workflows import table
from dashboard.pages.workflows.read import SIZES, Listing, read_list
from dashboard.query import conditions
from dashboard.query.query import Filter, Refused, Term, declared, list_url
from dashboard.web.guard import ConsoleRequest, console
from workers.client.visibility import OPERATORS, SYSTEM

FORM_TERMS = 3
LABELS = {
    "workflow_type": "Type",
    "prefix": "Id starts with",
    "after": "Started from",
    "before": "Started before",
}


@dataclass(frozen=True, slots=True)
class Chip:
    """A link that narrows the list, or widens it again; `count` is what it would show, where that is
    known."""

    url: str
    word: str
    s: str = ""
    count: str = ""
    on: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. `token` is where the page starts, `before` how many rows stand before
    it."""

    narrowed: Filter
    size: int
    token: bytes
    before: int

    def url(self, **changes: str) -> str:
        """The address of the same list at another page or size."""
        base = list_url(self.narrowed)
        pairs = {} if self.size == SIZES[-1] else {"size": str(self.size)}
        pairs |= changes
        tail = "&".join(f"{key}={value}" for key, value in pairs.items())
        return f"{base}{'&' if '?' in base else '?'}{tail}" if tail else base


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _asked(request: ConsoleRequest) -> Asked:
    params = request.GET
    size = _number(params.get("size", ""), SIZES[-1])
    try:
        token = base64.urlsafe_b64decode(params.get("page", "").encode())
    except (binascii.Error, ValueError):
        token = b""
    before = _number(params.get("row", ""), 0) if token else 0
    return Asked(Filter.from_params(params), size if size in SIZES else SIZES[-1], token, before)


def _removable(narrowed: Filter) -> list[Chip]:
    """What narrows the list now; following one takes it away."""
    fields = [
        (name, f"{label} {getattr(narrowed, name)}")
        for name, label in LABELS.items()
        if getattr(narrowed, name)
    ]
    fields += [
        (f"terms.{at}", f"{term.name} {term.operator} {term.value}") for at, term in enumerate(narrowed.terms)
    ]
    if narrowed.raw:
        fields.append(("raw", "Query as text"))
    return [Chip(list_url(narrowed.without(name)), text) for name, text in fields]


def _count(number: int | None, at_least: bool = False) -> str:
    return "" if number is None else f"{'≥ ' if at_least else ''}{number:,}"


def _condition_chips(narrowed: Filter, listing: Listing | None) -> list[Chip]:
    """A chip for each condition of open runs, with how many there are where the scan can tell."""
    if not extend.lines() or (listing and conditions.missing(listing.types)):
        return []
    names = [*conditions.OPEN] + [narrowed.condition] * (narrowed.condition in conditions.CONDITIONS)
    chips = []
    for name in dict.fromkeys(names):
        item = conditions.CONDITIONS[name]
        known = listing is not None and listing.scan is not None and name in conditions.OPEN
        total = listing.scan.get(name) if listing and listing.scan and known else None
        count = _count(total.count if total else 0, not listing.scan_complete) if listing and known else ""
        on = narrowed.condition == name
        url = list_url(replace(narrowed, condition="" if on else name, status=""))
        chips.append(Chip(url, item.word, item.s, count, on))
    return chips


def _status_chips(narrowed: Filter, listing: Listing | None) -> list[Chip]:
    """A chip for each of Temporal's statuses that occurs, and for the one that is chosen."""
    counts = listing.counts or {} if listing else {}
    known = {name: (s, word) for name, s, word in conditions.STATUSES.values()}
    names = [name for name in known if name in counts or name == narrowed.status]
    names += [name for name in counts if name not in known]
    chips = []
    for name in names:
        s, word = known.get(name, ("rest", name))
        on = narrowed.status == name
        url = list_url(replace(narrowed, status="" if on else name))
        chips.append(Chip(url, "Open" if name == "Running" else word, s, _count(counts.get(name)), on))
    return chips


def _list(asked: Asked, listing: Listing) -> dict[str, Any]:
    """The table and the way through its pages."""
    shown = table.columns(listing.rows, asked.narrowed.workflow_type, {**SYSTEM, **listing.types})
    last = asked.before + len(listing.rows)
    following = base64.urlsafe_b64encode(listing.next_token).decode()
    total = listing.total(asked.narrowed.status)
    more = bool(following) and bool(listing.rows or listing.exact) and (total is None or last < total)
    return {
        "columns": shown,
        "rows": table.body(listing.rows, shown),
        "first": asked.before + 1,
        "last": last,
        "total": total,
        "next_url": asked.url(page=following, row=str(last)) if more else "",
        "first_url": asked.url() if asked.token else "",
        "absent": conditions.missing(listing.types) if extend.lines() else [],
        "query": listing.query,
    }


def _form(narrowed: Filter, listing: Listing | None, errors: dict[str, str]) -> dict[str, Any]:
    """What the filter form needs; errors stand beside their fields."""
    types = {**SYSTEM, **(listing.types if listing else declared())}
    blank = [Term("", "=", "")] * max(1, FORM_TERMS - len(narrowed.terms))
    return {
        "filter": narrowed,
        "errors": errors,
        "terms": [(term, errors.get(f"terms.{at}", "")) for at, term in enumerate([*narrowed.terms, *blank])],
        "attributes": sorted(types),
        "operators": list(dict.fromkeys(op for ops in OPERATORS.values() for op in ops)),
        "statuses": [(name, word) for name, _, word in conditions.STATUSES.values()],
        "conditions": [(item.name, item.word) for item in conditions.CONDITIONS.values()],
        "types": list(extend.lines()),
        "sizes": SIZES,
    }


async def _context(request: ConsoleRequest) -> tuple[dict[str, Any], int]:
    """The context of page and region, and the status: 400 for a filter that cannot be used."""
    asked, errors = _asked(request), dict[str, str]()
    seen: Seen[Listing] = Seen(None, None)
    try:
        seen = await read_list(request.viewer, asked.narrowed, size=asked.size, token=asked.token)
    except Refused as refused:
        errors = refused.errors
    listing = seen.value
    context = {
        "seen": seen,
        "errors": errors,
        "size": asked.size,
        "chips": _removable(asked.narrowed),
        "condition_chips": _condition_chips(asked.narrowed, listing),
        "status_chips": _status_chips(asked.narrowed, listing),
        "region_url": f"{reverse('workflows-region')}?{request.GET.urlencode()}",
        **(_list(asked, listing) if listing else {}),
        **_form(asked.narrowed, listing, errors),
    }
    return context, 400 if errors else 200


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """The list. Everything is in the address, so that it can be kept and sent around."""
    context, status = await _context(request)
    context |= {"nav": "workflows", "title": "Workflows"}
    return render(request, "dashboard/workflows/page.html", context, status=status)


@require_safe
@console(Verb.VIEW)
async def region(request: ConsoleRequest) -> HttpResponse:
    """What changes on the list: counts and rows."""
    context, status = await _context(request)
    return render(request, "dashboard/workflows/_region.html", context, status=status)
