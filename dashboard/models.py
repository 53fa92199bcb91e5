"""The audit log: one row for what a person set out to do, one for what came of it, one for an event of an
account."""

from __future__ import annotations

from django.db import models


class AuditEntry(models.Model):
    """One link of the chain. Rows are only ever added; triggers of the database refuse the rest.

    People are text, so that an entry outlives the account. `hash` is the HMAC-SHA256 of the row's content,
    which holds the hash of the row before it; `previous_hash` is unique, so the chain cannot fork.
    """

    class Phase(models.TextChoices):
        INTENT = "intent"
        OUTCOME = "outcome"
        EVENT = "event"

    at = models.DateTimeField()
    actor = models.CharField(max_length=150, db_index=True)
    roles = models.TextField(blank=True)
    action = models.CharField(max_length=60, db_index=True)
    workflow_id = models.CharField(max_length=1000, blank=True, db_index=True)
    run_id = models.CharField(max_length=100, blank=True)
    namespace = models.CharField(max_length=255, blank=True)
    tenant = models.CharField(max_length=255, blank=True)
    decision_id = models.CharField(max_length=100, blank=True, db_index=True)
    reason = models.TextField(blank=True)
    phase = models.CharField(max_length=10, choices=Phase.choices)
    intent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="outcomes")
    outcome = models.CharField(max_length=30, blank=True)
    detail = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    previous_hash = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.workflow_id}: {self.outcome or self.phase}"
