"""The approvals page: the inbox, and the chosen item (`?w=<workflow id>`) with the form to decide it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import ConsoleRequest, Verb, console
from dashboard.pages.approvals import read as approvals


async def _context(request: ConsoleRequest) -> dict[str, Any]:
    """`wanted` is the workflow that the address names; `chosen` is None when it does not wait (any more)."""
    viewer, wanted = request.viewer, request.GET.get("w", "")
    snapshot = await approvals.inbox(viewer)
    inbox = snapshot.value
    item = inbox.find(wanted) if inbox else None
    return {
        "snapshot": snapshot,
        "inbox": inbox,
        "wanted": wanted,
        "chosen": await approvals.chosen(viewer, item) if item else None,
        "following": inbox.after(item) if inbox and item else None,
    }


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """What waits, the soonest deadline first. The form stands outside of the parts that change, so that
    nothing replaces what a viewer types. htmx gets the inbox, or with `part=chosen` what is known of the
    chosen item."""
    context = {"nav": "approvals", "title": "Approvals", **await _context(request)}
    if request.htmx:
        part = "_chosen" if request.GET.get("part") == "chosen" else "_region"
        return render(request, f"dashboard/approvals/{part}.html", context)
    if chosen := context["chosen"]:
        row = chosen.item.row
        context |= {
            "workflow_id": row.workflow_id,
            "run_id": row.run_id,
            "form": approvals.form(request.viewer, chosen),
            "next": request.path,
        }
    return render(request, "dashboard/approvals/page.html", context)
