"""Mistakes: an activity with two arguments, and one that does not say what it takes."""

from __future__ import annotations

from temporalio import activity


@activity.defn
def add(first: int, second: int) -> int:
    return first + second


@activity.defn
def guess(something) -> None: ...
