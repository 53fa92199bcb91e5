"""Temporal's visibility store as the console uses it: filters, conditions, rows, counts."""

from __future__ import annotations
