"""Mistake: a function that is registered but no activity."""

from __future__ import annotations

from workers.registry.registry import registry


@registry.activity("planted-queue")
def forgotten() -> None: ...
