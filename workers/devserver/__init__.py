"""A Temporal server for development and tests."""

from __future__ import annotations
