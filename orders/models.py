"""The order as the shop keeps it. How it stands is the workflow's to say, so no status is stored here."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from orders.messages import Strategy


class Order(models.Model):
    """An order that was placed. Its `order_id` is unique within its tenant; `total_minor` in minor units of
    `currency`; `lines` as messages.OrderLine."""

    tenant = models.CharField(max_length=60)
    order_id = models.CharField(max_length=60)
    workflow_id = models.CharField(max_length=200, unique=True)
    first_run_id = models.CharField(
        max_length=64, blank=True, help_text="Empty until Temporal took the order."
    )
    customer_id = models.CharField(max_length=60)
    customer_name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    total_minor = models.BigIntegerField("total")
    lines = models.JSONField()
    strategy = models.CharField(max_length=20, choices=[(item.value, item.value) for item in Strategy])
    priority = models.PositiveSmallIntegerField(default=0)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["tenant", "order_id"], name="one_order_for_an_id_of_a_tenant")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["tenant", "-created_at"], name="orders_of_a_tenant")
        ]

    def __str__(self) -> str:
        return self.order_id
