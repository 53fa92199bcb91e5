"""One run: its page; htmx gets the part that changes. `workflows/<id>/` leads to the newest run."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard import formats
from dashboard.access import ConsoleRequest, Verb, Viewer, console
from dashboard.actions.forms import Form
from dashboard.actions.kinds import choices
from dashboard.actions.objections import to_vote
from dashboard.pages.breakers.read import held_by
from dashboard.pages.run import read as runs
from dashboard.panels import drawn, offered, timeline
from dashboard.panels.headline import headline
from dashboard.temporal_api.rows import shorten
from workers.client.errors import TemporalUnavailable
from workers.payloads.redaction import redact


async def _context(request: ConsoleRequest, workflow_id: str, run_id: str) -> dict[str, Any]:
    """What page and fragment show. Raises TemporalUnavailable where not even a snapshot is known."""
    found = await runs.read_run(request.viewer, workflow_id, run_id)
    run = found.value
    if run is None:
        raise TemporalUnavailable(found.notice)
    said = drawn.draw(run)
    memo, attributes = run.row.memo, redact(run.row.attributes)
    return {
        "snapshot": found,
        "run": run,
        "row": run.row,
        "drawn": said,
        "headline": headline(run, said),
        "timeline": timeline.draw(run),
        "memo": list(zip(memo, shorten(list(memo.values()), 1000), strict=True)),
        "attributes": sorted((name, formats.line(value)) for name, value in attributes.items()),
        "workflow_id": workflow_id,
        "run_id": run_id,
    }


def _why(viewer: Viewer, said: drawn.Drawn) -> dict[str, str]:
    """Why this viewer's vote would not count."""
    why = to_vote(viewer, said.approval) if said.approval else ""
    return {"approve": why, "reject": why}


@require_safe
@console(Verb.VIEW)
async def newest(request: ConsoleRequest, workflow_id: str) -> HttpResponse:
    """To the newest run of a workflow."""
    run_id = await runs.newest(request.viewer, workflow_id)
    return HttpResponseRedirect(reverse("run", args=[request.viewer.namespace, workflow_id, run_id]))


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest, workflow_id: str, run_id: str) -> HttpResponse:
    """A run, with the form to decide on it. The form stands outside of the part that changes: nothing
    replaces it while a person fills it in."""
    context = await _context(request, workflow_id, run_id)
    if request.htmx:
        return render(request, "dashboard/run/_region.html", context)
    said, run = context["drawn"], context["run"]
    viewer, declared = request.viewer, run.answers.interface
    acts = choices(viewer, run.subject, said.acts, declared.signals if declared else None, _why(viewer, said))
    held = await held_by(viewer, said.circuit.dependency) if said.circuit else []
    context |= {
        "nav": "workflows",
        "title": workflow_id,
        "form": Form(acts, stuck=said.stuck) if acts else None,
        "offered": offered.offered(viewer, run, said, held),
        "next": request.path,
    }
    return render(request, "dashboard/run/page.html", context)
