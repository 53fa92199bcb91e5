"""Short addresses: `/`, `/workflows/...` and the like lead to the namespace that this console is configured
for."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.encoding import escape_uri_path
from django.views.decorators.http import require_safe

from dashboard.access import default_namespace


@require_safe
def short(request: HttpRequest, path: str = "") -> HttpResponseRedirect:
    """Redirect to the same page of the configured namespace, with the same query string. Only GET and HEAD:
    an action has to name its namespace."""
    address = reverse("overview", args=[default_namespace()]) + escape_uri_path(path)
    query = request.META.get("QUERY_STRING", "")
    return HttpResponseRedirect(f"{address}?{query}" if query else address)
