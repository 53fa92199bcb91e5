"""The table of the examples: what a team keeps of its customers."""

from __future__ import annotations

from django.db import models


class Customer(models.Model):
    number = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=80)

    def __str__(self) -> str:
        return f"{self.number} {self.name}"
