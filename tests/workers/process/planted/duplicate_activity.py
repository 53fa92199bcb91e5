"""Mistake: an activity whose name another one has, on another queue."""

from __future__ import annotations

from temporalio import activity


@activity.defn(name="nap", no_thread_cancel_exception=True)
def another_nap() -> None: ...
