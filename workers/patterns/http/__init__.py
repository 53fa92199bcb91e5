"""HTTP calls as activities."""

from __future__ import annotations
