"""The approvals page."""

from __future__ import annotations
