"""The breakers page and its region."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import Verb, Viewer
from dashboard.reads import breakers
from dashboard.views.guard import ConsoleRequest, console


async def _context(viewer: Viewer) -> dict[str, Any]:
    seen = await breakers.read(viewer)
    return {"seen": seen, "breakers": seen.value}


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """A card for each breaker, with what it holds."""
    context = {"nav": "breakers", "title": "Breakers", **await _context(request.viewer)}
    return render(request, "dashboard/breakers.html", context)


@require_safe
@console(Verb.VIEW)
async def region(request: ConsoleRequest) -> HttpResponse:
    """The same, without the page around it."""
    return render(request, "dashboard/regions/_breakers.html", await _context(request.viewer))
