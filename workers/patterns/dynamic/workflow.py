"""Workflows that run one registered activity, known by its name only: retried, visible, exactly once an id.

Both live on a queue of their own, DYNAMIC. There an unregistered workflow type is read as the name of an
activity; everywhere else an unknown type stays what it is, a task that no worker can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.contracts import Status
    from workers.patterns.dynamic.messages import ATTEMPTS, TIMEOUT_SECONDS, DynamicInput
    from workers.patterns.dynamic.switches import activity_of_run
    from workers.patterns.handlers import HoldHandlers

HELD_RETRY = timedelta(seconds=60)


class _OneActivity(HoldHandlers):
    """Resolves a name and runs what it means."""

    def __init__(self) -> None:
        super().__init__(HELD_RETRY)
        self._name = workflow.info().workflow_type
        self._stage = "resolving"

    def _go(self, stage: str) -> None:
        self._stage, self.updated_at = stage, workflow.now()

    async def _run(self, name: str, given: Sequence[Any], attempts: int, seconds: float) -> Any:
        self._name = name
        resolved = await activity_of_run(name)
        if resolved.takes_input and not given:
            raise ApplicationError(f"{name} needs an input.", type="MissingInput", non_retryable=True)
        self._go("running")
        result = await self.calls.call(
            resolved.name,
            *(given[:1] if resolved.takes_input else []),
            task_queue=resolved.queue,
            start_to_close_timeout=timedelta(seconds=seconds),
            retry_policy=RetryPolicy(maximum_attempts=attempts),
        )
        self._go("done")
        return result

    @workflow.query(name="get_status", description="Which activity runs here.")
    def status(self) -> Status:
        held = " and ".join(self.calls.held)
        return Status(
            status=self._stage,
            stage=self._stage,
            updated_at=self.updated_at,
            waiting_for=self.waiting_for(),
            summary=f"Held until {held} works again." if held else f"Runs {self._name}.",
        )


@workflow.defn
class DynamicWorkflow(_OneActivity):
    """Runs the activity that its input names; fails at once with the known names when there is none."""

    @workflow.run
    async def run(self, wanted: DynamicInput) -> Any:
        return await self._run(wanted.activity_name, [wanted.input], wanted.attempts, wanted.timeout_seconds)


@workflow.defn(dynamic=True)
class NamedByTypeWorkflow(_OneActivity):
    """Any other workflow type on this queue is the name of the activity, and its argument the activity's."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Any:
        return await self._run(workflow.info().workflow_type, args, ATTEMPTS, TIMEOUT_SECONDS)
