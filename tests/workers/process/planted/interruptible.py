"""Mistake: a sync activity into whose thread the SDK may raise a cancellation."""

from __future__ import annotations

from temporalio import activity


@activity.defn
def ask_bank() -> None: ...
