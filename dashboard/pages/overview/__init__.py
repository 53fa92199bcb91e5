"""The overview."""

from __future__ import annotations
