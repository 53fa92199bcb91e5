"""Who belongs to several tenants works for one of them at a time: the choice is kept in the session."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from dashboard.access import CHOSEN_TENANT, ConsoleRequest, Forbidden, console


@require_POST
@console()
async def choose(request: ConsoleRequest) -> HttpResponse:
    """Work for the tenant that the form names, from the overview on: the page before may show a run that the
    other tenant does not have."""
    wanted = request.POST.get("tenant", "")
    if wanted not in request.viewer.tenants:
        raise Forbidden("Your account does not belong to that tenant.")
    await request.session.aset(CHOSEN_TENANT, wanted)
    return HttpResponseRedirect(reverse("overview", args=[request.viewer.namespace]))
