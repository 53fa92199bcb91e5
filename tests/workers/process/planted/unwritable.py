"""Mistake: a result that cannot be made JSON."""

from __future__ import annotations

import threading

from temporalio import activity


@activity.defn
def borrow() -> threading.Thread:
    return threading.current_thread()
