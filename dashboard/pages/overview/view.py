"""The overview page and its region."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import Verb, Viewer
from dashboard.pages.approvals import read as approvals
from dashboard.pages.breakers import read as breakers
from dashboard.pages.overview import read as overview
from dashboard.pages.workers import read as queues
from dashboard.web.guard import ConsoleRequest, console

DUE_SHOWN = 5


async def _context(viewer: Viewer) -> dict[str, Any]:
    known = await breakers.read(viewer)
    seen = await overview.read(viewer, known.value.cards if known.value else [])
    inbox = await approvals.inbox(viewer)
    return {
        "seen": seen,
        "overview": seen.value,
        "breakers": known,
        "inbox": inbox,
        "due": inbox.value.items[:DUE_SHOWN] if inbox.value else [],
        "unpolled": (await queues.glance(viewer)).value,
        "recent": await overview.just_now(viewer),
    }


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """The line, what is due, open or stuck."""
    context = {"nav": "overview", "title": "Overview", **await _context(request.viewer)}
    return render(request, "dashboard/overview/page.html", context)


@require_safe
@console(Verb.VIEW)
async def region(request: ConsoleRequest) -> HttpResponse:
    """The same, without the page around it."""
    return render(request, "dashboard/overview/_region.html", await _context(request.viewer))
