"""Every route of the console. A test holds a role for each."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, register_converter

from dashboard.actions import view as actions
from dashboard.extend import api_urls
from dashboard.pages.approvals import view as approvals
from dashboard.pages.audit import view as audit
from dashboard.pages.breakers import view as breakers
from dashboard.pages.overview import view as overview
from dashboard.pages.run import view as workflow
from dashboard.pages.workers import view as workers
from dashboard.pages.workflows import view as workflows
from dashboard.web import login, probes
from dashboard.web.converters import TemporalId

register_converter(TemporalId, "tid")

handler400 = "dashboard.web.errors.bad_request"
handler403 = "dashboard.web.errors.permission_denied"
handler404 = "dashboard.web.errors.page_not_found"
handler500 = "dashboard.web.errors.server_error"

RUN = "workflows/<tid:workflow_id>/<tid:run_id>/"

urlpatterns = [
    path("", overview.page, name="overview"),
    path("regions/overview/", overview.region, name="overview-region"),
    path("workflows/", workflows.page, name="workflows"),
    path("regions/workflows/", workflows.region, name="workflows-region"),
    path("workflows/<tid:workflow_id>/", workflow.newest, name="workflow"),
    path(RUN, workflow.page, name="run"),
    path(f"{RUN}region/", workflow.region, name="run-region"),
    path(f"{RUN}action/<slug:action>/", actions.act, name="action"),
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
