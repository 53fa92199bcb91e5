"""For tests: something else in an activity's place, without touching what is registered."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from workers.registry.definitions import RegistryError, activity_name
from workers.registry.registry import registry

_fakes: dict[str, Callable[..., Any]] = {}


@contextmanager
def swapped(name: str | Callable[..., Any], fake: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, workers with SwapInterceptor call `fake` instead, sync or async as it pleases.

    `name`: a registered activity's, or the activity itself, registered or not. Breakers, tenancy and the
    other interceptors stay around it. Raises RegistryError for a name that is not registered.
    """
    if isinstance(name, str):
        registry.load()
        known = registry.activity_queues()
        if name not in known:
            raise RegistryError(f"No activity is called {name}. Registered: {', '.join(sorted(known))}.")
    else:
        name = activity_name(name)
    before = _fakes.get(name)
    _fakes[name] = fake
    try:
        yield
    finally:
        if before is None:
            del _fakes[name]
        else:
            _fakes[name] = before


class SwapInterceptor(Interceptor):
    """The last of a test worker's interceptors, so that all others see the real activity."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Activity(next)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        fake = _fakes.get(activity.info().activity_type)
        if fake is None:
            return await super().execute_activity(input)
        if input.executor is None and not inspect.iscoroutinefunction(fake):
            # The real one is async, so the SDK has no thread for this one.
            return await asyncio.to_thread(fake, *input.args)
        input.fn = fake
        return await super().execute_activity(input)
