"""The approvals page: the inbox, and the chosen item (`?w=<workflow id>`) with the form to decide it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import ConsoleRequest, Verb, console
from dashboard.actions.offers import version_of
from dashboard.pages.approvals import read as approvals


async def _context(request: ConsoleRequest) -> dict[str, Any]:
    """`wanted` is the workflow that the address names; `chosen` is None when it does not wait (any more)."""
    viewer, wanted = request.viewer, request.GET.get("w", "")
    snapshot = await approvals.inbox(viewer)
    inbox = snapshot.value
    item = await approvals.find(viewer, inbox, wanted) if inbox else None
    chosen = await approvals.chosen(viewer, item) if item else None
    form = approvals.form(viewer, chosen) if chosen else None
    return {
        "workflow_id": item.row.workflow_id if item else "",
        "run_id": item.row.run_id if item else "",
        "form": form,
        "form_version": version_of([form] if form else []),
        "next": request.path,
        "snapshot": snapshot,
        "inbox": inbox,
        "items": inbox.shown(item) if inbox else [],
        "wanted": wanted,
        "chosen": chosen,
        "following": inbox.after(item) if inbox and item else None,
    }


@require_safe
@console(Verb.VIEW)
async def page(request: ConsoleRequest) -> HttpResponse:
    """What waits, the soonest deadline first, and the form to decide the chosen item, which is replaced only
    when something else is offered. htmx gets the inbox, or with `part=chosen` what is known of the item."""
    context = {"nav": "approvals", "title": "Approvals", **await _context(request)}
    part = "page"
    if request.htmx:
        part = "_chosen" if request.GET.get("part") == "chosen" else "_region"
    return render(request, f"dashboard/approvals/{part}.html", context)
