"""The audit log: what people did, newest first."""

from __future__ import annotations

from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.access import ConsoleRequest, Verb, Viewer, console, for_viewer
from dashboard.audit.accounts import EVENTS
from dashboard.audit.outcomes import unsettled
from dashboard.extend import actions
from dashboard.models import AuditEntry

PAGE = 50
FILTERS = ("actor", "action", "workflow", "outcome")
NO_OUTCOME = "none"
LARGEST_ID = 2**63 - 1


def _entries(viewer: Viewer, wanted: dict[str, str], before: int | None) -> list[AuditEntry]:
    """One row more than a page, so that the view knows whether there are older ones."""
    found = unsettled() if wanted["outcome"] == NO_OUTCOME else AuditEntry.objects.all()
    found = for_viewer(viewer).rows(found)
    for field, value in (("actor", "actor"), ("action", "action"), ("workflow_id", "workflow")):
        if wanted[value]:
            found = found.filter(**{field: wanted[value]})
    if before is not None:
        found = found.filter(id__lt=before)
    return list(found[: PAGE + 1])


def _cursor(text: str) -> int | None:
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdigit() and len(text) < 20 else None


@require_safe
@console(Verb.AUDIT)
async def page(request: ConsoleRequest) -> HttpResponse:
    """Filters by exact actor, action and workflow id, and by decisions without an outcome; pages by the id of
    the last row."""
    wanted = {name: request.GET.get(name, "").strip().replace("\0", "") for name in FILTERS}
    before = _cursor(request.GET.get("before", ""))
    rows = await sync_to_async(_entries)(request.viewer, wanted, before)
    kept = {name: value for name, value in wanted.items() if value}
    older = urlencode({**kept, "before": rows[PAGE - 1].pk}) if len(rows) > PAGE else ""
    context = {
        "title": "Audit",
        "nav": "audit",
        "entries": rows[:PAGE],
        "wanted": wanted,
        "actions": [*actions(), *EVENTS],
        "filtered": bool(kept),
        "older": older,
        "newest": urlencode(kept) if before is not None else None,
    }
    return await sync_to_async(render)(request, "dashboard/audit/page.html", context)
