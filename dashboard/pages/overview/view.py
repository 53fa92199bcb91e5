"""The overview; htmx gets the part that changes."""

from __future__ import annotations

import asyncio
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import registrations
from dashboard.access import ConsoleRequest, Verb, Viewer, console
from dashboard.pages.approvals import read as approvals
from dashboard.pages.breakers import read as breakers
from dashboard.pages.overview import read as overview
from dashboard.pages.workers import read as queues

DUE_SHOWN = 5


async def _context(viewer: Viewer) -> dict[str, Any]:
    known, snapshot, inbox, polled, recent = await asyncio.gather(
        breakers.read(viewer),
        overview.read(viewer),
        approvals.inbox(viewer),
        queues.latest(viewer),
        overview.just_now(viewer),
    )
    return {
        "snapshot": snapshot,
        "overview": snapshot.value,
        "breakers": known,
        "inbox": inbox,
        "due": inbox.value.items[:DUE_SHOWN] if inbox.value else [],
        "unpolled": polled.value,
        "mistakes": registrations.sentences(),
        "recent": recent,
    }


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """The pipelines, what is due, open or stuck."""
    context = {"nav": "overview", "title": "Overview", **await _context(request.viewer)}
    return render(request, f"dashboard/overview/{'_region' if request.htmx else 'page'}.html", context)
