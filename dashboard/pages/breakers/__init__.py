"""The breakers page."""

from __future__ import annotations
