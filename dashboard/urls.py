"""Every route of the console. A test holds a role for each."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, register_converter

from dashboard.converters import TemporalId
from dashboard.extend import api_urls
from dashboard.views import (
    acts,
    approvals,
    audit,
    breakers,
    login,
    overview,
    probes,
    workers,
    workflow,
    workflows,
)

register_converter(TemporalId, "tid")

handler400 = "dashboard.views.errors.bad_request"
handler403 = "dashboard.views.errors.permission_denied"
handler404 = "dashboard.views.errors.page_not_found"
handler500 = "dashboard.views.errors.server_error"

RUN = "workflows/<tid:workflow_id>/<tid:run_id>/"

urlpatterns = [
    path("", overview.page, name="overview"),
    path("regions/overview/", overview.region, name="overview-region"),
    path("workflows/", workflows.page, name="workflows"),
    path("regions/workflows/", workflows.region, name="workflows-region"),
    path("workflows/<tid:workflow_id>/", workflow.newest, name="workflow"),
    path(RUN, workflow.page, name="run"),
    path(f"{RUN}region/", workflow.region, name="run-region"),
    path(f"{RUN}act/<slug:act>/", acts.decide, name="act"),
    path("approvals/", approvals.page, name="approvals"),
    path("regions/approvals/", approvals.region, name="approvals-region"),
    path("breakers/", breakers.page, name="breakers"),
    path("regions/breakers/", breakers.region, name="breakers-region"),
    path("workers/", workers.page, name="workers"),
    path("regions/workers/", workers.region, name="workers-region"),
    path("audit/", audit.page, name="audit"),
    path("login/", login.sign_in, name="login"),
    path("logout/", login.sign_out, name="logout"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("api/", include(api_urls())),
]
