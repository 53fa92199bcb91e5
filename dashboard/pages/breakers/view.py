"""The breakers page and its region."""

from __future__ import annotations

import asyncio
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import Verb, Viewer
from dashboard.pages.breakers import read as breakers
from dashboard.web.guard import ConsoleRequest, console


async def _context(viewer: Viewer) -> dict[str, Any]:
    seen = await breakers.read(viewer)
    cards = seen.value.cards if seen.value else []
    return {"seen": seen, "breakers": seen.value, "cards": [(card, None) for card in cards]}


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """A card for each breaker, with what it holds, and the form of its actions. Refreshing passes the forms
    by, so that nothing replaces what a viewer types."""
    context = {"nav": "breakers", "title": "Breakers", **await _context(request.viewer)}
    shown = [card for card, _ in context["cards"]]
    forms = await asyncio.gather(*(breakers.form(request.viewer, card) for card in shown))
    context |= {"cards": list(zip(shown, forms, strict=True)), "next": request.path}
    return render(request, "dashboard/breakers/page.html", context)


@require_safe
@console(Verb.VIEW)
async def region(request: ConsoleRequest) -> HttpResponse:
    """The same, without forms and without the page around it."""
    return render(request, "dashboard/breakers/_region.html", await _context(request.viewer))
