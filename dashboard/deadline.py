"""One deadline for all that a page reads from Temporal: reads that follow each other must not add up.

It lies a moment after that of a call which begins with the page, so that the call's own failure is the reason
that the page shows.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

from workers.conf import conf

MORE_SECONDS = 0.5

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def begin() -> None:
    """A request begins."""
    _deadline.set(time.monotonic() + conf().rpc_timeout + MORE_SECONDS)


def within(max_wait: float | None = None) -> float | None:
    """Seconds that a read may still be waited for, `max_wait` at most; None: as long as it takes, outside of
    requests."""
    deadline = _deadline.get()
    if deadline is None:
        return max_wait
    left = max(0.0, deadline - time.monotonic())
    return left if max_wait is None else min(left, max_wait)
