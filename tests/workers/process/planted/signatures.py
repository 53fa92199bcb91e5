"""Mistakes: an activity with two arguments, and one that does not say what it takes."""

from __future__ import annotations

from temporalio import activity


@activity.defn(no_thread_cancel_exception=True)
def add(first: int, second: int) -> int:
    return first + second


@activity.defn(no_thread_cancel_exception=True)
def guess(something) -> None: ...
