"""Mistake: a result that cannot be made JSON."""

from __future__ import annotations

import threading

from temporalio import activity


@activity.defn(no_thread_cancel_exception=True)
def borrow() -> threading.Thread:
    return threading.current_thread()
