"""Effects: the one activity that follows an event, found by name, under a key that stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from workers.patterns.dynamic.messages import Resolved
from workers.patterns.events.fold import Recorded
from workers.patterns.events.messages import Effect, EntityInput
from workers.patterns.events.store import EventStore
from workers.patterns.guarded_calls import GuardedCalls


class EffectRunner:
    """Runs the effects of a store's pending events, in the order of the events, one call at a time.

    An effect that waits lets others go first. For an operator: all but those with its ordering key. At a
    breaker: all but those, and those of the same activity, which that breaker would refuse as well.

    targets: name -> the activity, once that is resolved.
    finished: called with the event and "", or the error for which its effect failed for good.
    """

    def __init__(
        self,
        store: EventStore[Any],
        options: EntityInput,
        guarded: GuardedCalls,
        *,
        effect_type: Callable[[Recorded], str],
        finished: Callable[[Recorded, str], None],
    ) -> None:
        self.targets: dict[str, Resolved] | None = None
        self._store, self._options, self._guarded = store, options, guarded
        self._effect_type, self._finished = effect_type, finished
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by the name of their activity
        self._one_call = asyncio.Lock()

    @property
    def calling(self) -> bool:
        """An effect's activity is under way, rather than held at a breaker."""
        return self._one_call.locked()

    def next(self) -> Recorded | None:
        """The event whose effect can be started now. Raises what an effect's task did not expect: a bug."""
        for task in self._tasks.values():
            if task.done():
                task.result()
        if self.targets is None or self.calling:
            return None
        return next((e for e in self._store.runnable() if self._target(e).name not in self._tasks), None)

    def start(self, event: Recorded) -> None:
        """Start the effect of the event that `next` returned."""
        name = self._target(event).name
        self._tasks[name] = asyncio.create_task(self._run(event, self._target(event)))

    async def _run(self, event: Recorded, target: Resolved) -> None:
        error = await self._call(event, target)
        del self._tasks[target.name]
        self._finished(event, error)

    async def _call(self, event: Recorded, target: Resolved) -> str:
        """Call until it is done, then "", or failed for good, then why; held while a breaker refuses it."""
        effect, options = self._effect(event), self._options
        try:
            await self._guarded.call(
                target.name,
                *target.arguments(effect),
                idempotency_key=effect.idempotency_key,
                lock=self._one_call,
                task_queue=target.queue,
                summary=f"{effect.type} {event.event_id}"[:200],
                start_to_close_timeout=timedelta(seconds=options.effect_seconds),
                retry_policy=RetryPolicy(
                    maximum_interval=timedelta(seconds=60), maximum_attempts=options.effect_attempts
                ),
            )
        except ActivityError as error:
            return str(error.cause or error) or "It failed."
        except ApplicationError as error:  # its argument must not be sent: too large, or a secret
            return error.message
        return ""

    def _target(self, event: Recorded) -> Resolved:
        assert self.targets is not None
        return self.targets[self._options.effects[self._effect_type(event)]]

    def _effect(self, event: Recorded) -> Effect:
        workflow_id = workflow.info().workflow_id
        return Effect(
            idempotency_key=f"{workflow_id}/{event.event_id}",
            workflow_id=workflow_id,
            event_id=event.event_id,
            type=self._effect_type(event),
            payload=event.body,
        )
