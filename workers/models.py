"""What workers keep in the database: switches that change at run time, and transactions that were applied."""

from __future__ import annotations

from django.db import models


class FeatureFlag(models.Model):
    """A switch. The row of a tenant wins over the one for all (tenant ""). An unknown flag is off."""

    name = models.SlugField(max_length=80)
    tenant = models.CharField(max_length=60, blank=True, default="")
    enabled = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("name", "tenant"), name="one_switch_for_a_flag_and_tenant"),
        )

    def __str__(self) -> str:
        state = "on" if self.enabled else "off"
        return f"{self.name} for {self.tenant or 'all tenants'}: {state}"


class TenantActivity(models.Model):
    """For `tenant` ("" for all), a call of activity `name` gets the registered `implementation`."""

    name = models.CharField(max_length=200)
    tenant = models.CharField(max_length=60, blank=True, default="")
    implementation = models.CharField(max_length=200)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "tenant activities"
        constraints = (
            models.UniqueConstraint(fields=("name", "tenant"), name="one_implementation_for_a_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.name} for {self.tenant or 'all tenants'}: {self.implementation}"


class AppliedTransaction(models.Model):
    """A named operation that was committed under `transaction_id`: again, it returns the same."""

    transaction_id = models.CharField(max_length=200, unique=True)
    operation = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)
    result = models.JSONField(null=True)
    applied_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.operation} {self.transaction_id}"
