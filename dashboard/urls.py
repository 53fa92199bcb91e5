"""Every route of the console. A test holds a role for each."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path, register_converter

from dashboard.actions import view as actions
from dashboard.extend import api_urls
from dashboard.pages.approvals import view as approvals
from dashboard.pages.audit import view as audit
from dashboard.pages.breakers import view as breakers
from dashboard.pages.overview import view as overview
from dashboard.pages.run import view as run
from dashboard.pages.workers import view as workers
from dashboard.pages.workflows import view as workflows
from dashboard.web import login, namespaces, probes, tenants
from dashboard.web.converters import TemporalId

register_converter(TemporalId, "tid")

handler400 = "dashboard.web.errors.bad_request"
handler403 = "dashboard.web.errors.permission_denied"
handler404 = "dashboard.web.errors.page_not_found"
handler500 = "dashboard.web.errors.server_error"

RUN = "workflows/<tid:workflow_id>/<tid:run_id>/"

in_namespace = [
    path("", overview.page, name="overview"),
    path("workflows/", workflows.page, name="workflows"),
    path("workflows/<tid:workflow_id>/", run.newest, name="workflow"),
    path(RUN, run.page, name="run"),
    path(f"{RUN}action/<slug:action>/", actions.perform_action, name="action"),
    path(f"{RUN}action/<slug:action>/<slug:decision>/", actions.show_verdict, name="verdict"),
    path("approvals/", approvals.page, name="approvals"),
    path("breakers/", breakers.page, name="breakers"),
    path("workers/", workers.page, name="workers"),
]
urlpatterns = [
    path("ns/<str:namespace>/", include(in_namespace)),
    path("audit/", audit.page, name="audit"),
    path("login/", login.sign_in, name="login"),
    path("logout/", login.sign_out, name="logout"),
    path("tenant/", tenants.choose, name="tenant"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("api/", include(api_urls())),
    path("", namespaces.short, name="home"),
    re_path(r"^(?P<path>(workflows|approvals|breakers|workers)/.*)$", namespaces.short, name="short"),
]
