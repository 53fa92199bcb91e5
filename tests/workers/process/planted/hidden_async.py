"""Mistake: an async activity under a decorator that is not, so that nobody awaits it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from temporalio import activity


def timed(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def run(*args: Any) -> Any:
        return fn(*args)

    return run


@activity.defn
@timed
async def fetch(page: int) -> str:
    return str(page)
