"""The breakers page; htmx gets the part that changes."""

from __future__ import annotations

import asyncio

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import registrations
from dashboard.access import ConsoleRequest, Verb, console
from dashboard.pages.breakers import read as breakers


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """A card for each breaker, with what it holds, and the form of its actions. Refreshing passes the forms
    by, so that nothing replaces what a viewer types."""
    snapshot = await breakers.read(request.viewer)
    cards = snapshot.value.cards if snapshot.value else []
    context = {"nav": "breakers", "title": "Breakers", "snapshot": snapshot, "breakers": snapshot.value}
    context["mistakes"] = registrations.sentences()
    if request.htmx:
        context["cards"] = [(card, None) for card in cards]
        return render(request, "dashboard/breakers/_region.html", context)
    forms = await asyncio.gather(*(breakers.form(request.viewer, card) for card in cards))
    context |= {"cards": list(zip(cards, forms, strict=True)), "next": request.path}
    return render(request, "dashboard/breakers/page.html", context)
