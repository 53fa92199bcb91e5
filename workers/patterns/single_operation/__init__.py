"""One operation behind a breaker of its own."""

from __future__ import annotations
