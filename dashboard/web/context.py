"""What every page needs: the environment with its band, the tenant, the theme, and the badges of the
navigation."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from dashboard.access import default_namespace, for_all_tenants
from dashboard.live import cached_read
from workers.conf import conf

THEMES = ("light", "dark")
HARMLESS = ("development", "test", "staging")  # every other environment wears the band of production


def page(request: HttpRequest) -> dict[str, Any]:
    """Context of all templates. Badges come from what was last read for this viewer: a page never asks
    Temporal for its navigation. The theme is a cookie, so that the first paint already has it."""
    environment = conf().environment
    theme = request.COOKIES.get("theme", "")
    viewer = getattr(request, "viewer", None)
    bound = viewer if viewer and not for_all_tenants(viewer) else None
    return {
        "viewer": viewer,
        "tenant": bound.tenant if bound else None,
        "tenants": bound.tenants if bound and len(bound.tenants) > 1 else (),
        "namespace": viewer.namespace if viewer else default_namespace(),
        "roles": ", ".join(sorted(viewer.roles)) if viewer else "",
        "environment": environment,
        "production": environment not in HARMLESS,
        "theme": theme if theme in THEMES else "",
        "badges": cached_read.badges(viewer) if viewer else {},
    }
