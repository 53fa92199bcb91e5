"""Feature flags and tenants' activities in the Django admin, whose own log says who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from workers.models import FeatureFlag, TenantActivity
from workers.registry.registry import registry

# The classes of Django take no parameter while they run.
if TYPE_CHECKING:
    FlagBase = admin.ModelAdmin[FeatureFlag]
    ActivityBase = admin.ModelAdmin[TenantActivity]
    FormBase = forms.ModelForm[TenantActivity]
else:
    FlagBase = ActivityBase = admin.ModelAdmin
    FormBase = forms.ModelForm


@admin.register(FeatureFlag)
class FeatureFlagAdmin(FlagBase):
    """A switch applies to runs that start after it; open runs keep what they resolved."""

    list_display = ("name", "tenant", "enabled", "updated_at")
    list_filter = ("enabled", "tenant")
    search_fields = ("name", "tenant")
    ordering = ("name", "tenant")


class TenantActivityForm(FormBase):
    """Refuses an implementation that no worker would have."""

    class Meta:
        model = TenantActivity
        fields = ("name", "tenant", "implementation")

    def clean_implementation(self) -> Any:
        registry.load()
        chosen, known = self.cleaned_data["implementation"], registry.activity_queues()
        if chosen not in known:
            raise ValidationError(f"No app has registered it. Registered: {', '.join(sorted(known))}.")
        return chosen


@admin.register(TenantActivity)
class TenantActivityAdmin(ActivityBase):
    """Which activity a tenant gets when a workflow asks for another by name."""

    form = TenantActivityForm
    list_display = ("name", "tenant", "implementation", "updated_at")
    list_filter = ("tenant",)
    search_fields = ("name", "tenant", "implementation")
    ordering = ("name", "tenant")
