"""The registered activity itself as a model: its code, and a worker's interceptors around it, for `explore`.

Each call that arrives runs the function to its end, in an activity context as `ActivityEnvironment` makes
it. What it raises becomes an ApplicationError, as a worker would send it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from workers.testing.world import Call, Do


class _Function(ActivityInboundInterceptor):
    """The innermost: calls the function."""

    def __init__(self) -> None:
        """There is no next one."""

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Heartbeats go to the environment."""

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (the SDK's name)
        result = input.fn(*input.args)
        return await result if inspect.isawaitable(result) else result


def registered(fn: Callable[..., Any], interceptors: Sequence[Interceptor] = ()) -> Do:
    """A model's `do` that runs an activity function for real. `interceptors`: a worker's, outermost first.

    Its arguments are decoded by its type hints. It runs in the thread of the exploration, so what it calls
    outside should be quick and should not wait for the clock.
    """
    definition = activity._Definition.from_callable(fn)
    types = (definition.arg_types if definition else None) or []

    def do(world: object, call: Call) -> Any:
        arguments = call.converter.from_payloads(
            call.payloads, types if len(types) == len(call.payloads) else None
        )
        chain: ActivityInboundInterceptor = _Function()
        for interceptor in reversed(interceptors):
            chain = interceptor.intercept_activity(chain)
        given = ExecuteActivityInput(fn=fn, args=arguments, executor=None, headers=call.headers)
        environment = ActivityEnvironment()
        environment.payload_converter = call.converter
        info = ActivityEnvironment.default_info()
        since = timedelta(seconds=call.again)  # a server schedules each further attempt later
        environment.info = dataclasses.replace(
            info,
            current_attempt_scheduled_time=info.scheduled_time + since,
            activity_id=call.id,
            activity_type=call.name,
            attempt=call.attempt,
            task_queue=call.queue or "simulated",
            workflow_id=call.workflow_id,
        )
        try:
            return _run(environment.run, chain.execute_activity, given)
        except ApplicationError:
            raise
        except Exception as error:
            raise ApplicationError(str(error), type=type(error).__name__) from error

    return do


def _run(run: Callable[..., Any], fn: Callable[..., Any], given: ExecuteActivityInput) -> Any:
    """Without the loop that may be running here: the exploration itself is called from it."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(None)

    async def execute() -> Any:
        return await run(fn, given)

    try:
        return asyncio.run(execute())
    finally:
        asyncio._set_running_loop(before)
