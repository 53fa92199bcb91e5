"""Mistake: an activity behind a breaker that no app registers."""

from __future__ import annotations

from temporalio import activity

from workers.patterns.breaker.names import guarded


@activity.defn
@guarded("paymnets")
def pay() -> None: ...
