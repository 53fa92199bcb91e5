"""The workers page and its region: who polls which queue, and what waits there."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import Verb, Viewer
from dashboard.pages.workers import read as queues
from dashboard.web.guard import ConsoleRequest, console
from workers.conf import conf


async def _context(viewer: Viewer) -> dict[str, Any]:
    seen = await queues.read(viewer)
    return {"seen": seen, "found": seen.value, "address": conf().address, "namespace": conf().namespace}


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """Queues without a worker first, then everybody who polls."""
    context = {"nav": "workers", "title": "Workers", **await _context(request.viewer)}
    return render(request, "dashboard/workers/page.html", context)


@require_safe
@console(Verb.VIEW)
async def region(request: ConsoleRequest) -> HttpResponse:
    """The same, without the page around it."""
    return render(request, "dashboard/workers/_region.html", await _context(request.viewer))
