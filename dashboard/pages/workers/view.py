"""The workers page: which workers poll which queue, and what waits there; htmx gets the part that changes."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import registrations
from dashboard.access import ConsoleRequest, Verb, console
from dashboard.pages.workers import read as queues
from workers.conf import conf


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """Queues without a worker first, then all workers that poll."""
    snapshot = await queues.read(request.viewer)
    context = {
        "nav": "workers",
        "title": "Workers",
        "snapshot": snapshot,
        "found": snapshot.value,
        "mistakes": registrations.sentences(),
        "address": conf().address,
    }
    return render(request, f"dashboard/workers/{'_region' if request.htmx else 'page'}.html", context)
