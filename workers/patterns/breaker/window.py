"""Calls and failures over a sliding window, in a handful of buckets. Pure: times are given by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

BUCKETS = 5


class Bucket(BaseModel):
    """Calls and failures of a fifth of the window, from `start` on."""

    start: datetime
    calls: int = 0
    failures: int = 0


def counted(
    window: Sequence[Bucket], now: datetime, span: float, calls: int = 0, failures: int = 0
) -> list[Bucket]:
    """The window of `span` seconds with these calls of now added, and without what is older."""
    oldest = now - timedelta(seconds=span)
    kept = [bucket for bucket in window if bucket.start > oldest]
    if calls:
        if not kept or now - kept[-1].start >= timedelta(seconds=span / BUCKETS):
            kept.append(Bucket(start=now))
        last = kept[-1]
        grown = {"calls": last.calls + calls, "failures": last.failures + min(failures, calls)}
        kept[-1] = last.model_copy(update=grown)
    return kept


def totals(window: Sequence[Bucket]) -> tuple[int, int]:
    """Calls and failures of all buckets."""
    return sum(bucket.calls for bucket in window), sum(bucket.failures for bucket in window)
