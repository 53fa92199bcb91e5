"""Mistake: an activity behind a breaker that no app registers."""

from __future__ import annotations

from temporalio import activity

from workers.patterns.breaker.names import guarded


@activity.defn(no_thread_cancel_exception=True)
@guarded("paymnets")
def pay() -> None: ...
