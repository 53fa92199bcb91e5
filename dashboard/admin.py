"""The audit log in the Django admin, to look at only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from dashboard.access import for_viewer, viewer_in
from dashboard.models import AuditEntry

# The class of Django takes no parameter while it runs.
if TYPE_CHECKING:
    Base = admin.ModelAdmin[AuditEntry]
else:
    Base = admin.ModelAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(Base):
    """The entries of the viewer's tenant. None can be added, changed or deleted here; the database would
    refuse it too."""

    list_display = ("at", "actor", "action", "workflow_id", "phase", "outcome")
    list_filter = ("action", "phase", "outcome")
    search_fields = ("actor", "workflow_id", "decision_id")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        return for_viewer(viewer_in(request)).rows(super().get_queryset(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False
