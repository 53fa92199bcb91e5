"""Management commands for development."""

from __future__ import annotations
