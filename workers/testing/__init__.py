"""For tests: stand-ins for activities."""

from __future__ import annotations
