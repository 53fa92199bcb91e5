"""The audit page."""

from __future__ import annotations
