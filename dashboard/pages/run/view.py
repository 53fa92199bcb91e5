"""One run: its page; htmx gets the part that changes. `workflows/<id>/` leads to the newest run."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard import formats
from dashboard.access import ConsoleRequest, Verb, console
from dashboard.actions import offers
from dashboard.pages.run import read as runs
from dashboard.panels import build, timeline
from dashboard.panels.headline import headline
from workers.client.errors import TemporalUnavailable
from workers.payloads.redaction import redact


async def _context(request: ConsoleRequest, workflow_id: str, run_id: str) -> dict[str, Any]:
    """What page and fragment show. Raises TemporalUnavailable where not even a snapshot is known."""
    found = await runs.read_run(request.viewer, workflow_id, run_id)
    run = found.value
    if run is None:
        raise TemporalUnavailable(found.notice)
    attributes = redact(run.row.attributes)
    forms = offers.forms(await offers.run_target(request.viewer, run), "run")
    return {
        "forms": forms,
        "forms_version": offers.version_of(forms),
        "next": request.path,
        "snapshot": found,
        "run": run,
        "row": run.row,
        "panels": await sync_to_async(build.panels)(run),
        "headline": headline(run),
        "timeline": timeline.draw(run),
        "memo": run.memo,
        "attributes": sorted((name, formats.line(value)) for name, value in attributes.items()),
        "workflow_id": workflow_id,
        "run_id": run_id,
    }


@require_safe
@console(Verb.VIEW)
async def newest(request: ConsoleRequest, workflow_id: str) -> HttpResponse:
    """To the newest run of a workflow."""
    run_id = await runs.newest(request.viewer, workflow_id)
    return HttpResponseRedirect(reverse("run", args=[request.viewer.namespace, workflow_id, run_id]))


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest, workflow_id: str, run_id: str) -> HttpResponse:
    """A run, with the forms of its actions, which are replaced only when other actions are offered."""
    context = await _context(request, workflow_id, run_id)
    if request.htmx:
        return render(request, "dashboard/run/_region.html", context)
    context |= {"nav": "workflows", "title": workflow_id}
    return render(request, "dashboard/run/page.html", context)
