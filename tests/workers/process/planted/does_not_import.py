"""Mistake: a module that fails on the way."""

from __future__ import annotations

LIMITS = {"low": 1}
HIGH = LIMITS["high"]
