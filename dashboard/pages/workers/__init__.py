"""The workers page."""

from __future__ import annotations
