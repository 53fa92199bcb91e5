"""Shared circuit breakers: one workflow per dependency."""

from __future__ import annotations
