"""The approvals page: the inbox, and the chosen item (`?w=<workflow id>`) with the form to decide it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import Verb
from dashboard.pages.approvals import read as approvals
from dashboard.web.guard import ConsoleRequest, console


async def _context(request: ConsoleRequest) -> dict[str, Any]:
    """`wanted` is the workflow that the address names; `chosen` is None when it does not wait (any more)."""
    viewer, wanted = request.viewer, request.GET.get("w", "")
    seen = await approvals.inbox(viewer)
    item = seen.value.find(wanted) if seen.value else None
    return {
        "seen": seen,
        "inbox": seen.value,
        "wanted": wanted,
        "chosen": await approvals.chosen(viewer, item) if item else None,
        "following": seen.value.after(item) if seen.value and item else None,
    }


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """What waits, the soonest deadline first. The form stands outside of the regions, so that nothing
    replaces what a viewer types."""
    context = {"nav": "approvals", "title": "Approvals", **await _context(request)}
    if chosen := context["chosen"]:
        row = chosen.item.row
        context |= {
            "workflow_id": row.workflow_id,
            "run_id": row.run_id,
            "form": approvals.form(request.viewer, chosen),
            "next": request.path,
        }
    return render(request, "dashboard/approvals/page.html", context)


@require_safe
@console(Verb.VIEW)
async def region(request: ConsoleRequest) -> HttpResponse:
    """The inbox; with `part=chosen` what is known of the chosen item."""
    part = "_chosen" if request.GET.get("part") == "chosen" else "_region"
    return render(request, f"dashboard/approvals/{part}.html", await _context(request))
