"""The yard: a small outside world for sagas and recoveries, and workers for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.workers.saga_world import Yard
from workers.activities.alerts import raise_alert
from workers.activities.resolve import resolve_activities, resolve_workflows
from workers.patterns import alerts, switches
from workers.registry import registry
from workers.workflows.recovery import RecoveryWorkflow
from workers.workflows.saga import SagaWorkflow


@pytest.fixture
def halted(queue: str, worker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A world whose activities are registered on this test's queue, which is the platform's as well."""
    monkeypatch.setattr(switches, "PLATFORM", queue)
    monkeypatch.setattr(alerts, "PLATFORM", queue)
    own = (made := Yard(queue)).activities()
    made.running = lambda: worker(
        queue,
        workflows=[SagaWorkflow, RecoveryWorkflow],
        activities=[*own, resolve_activities, resolve_workflows, raise_alert],
    )
    registry.load()
    registry.add(queue, activities=own)
    yield made
    del registry.queues[queue]


@pytest.fixture
async def yard(halted: Yard) -> AsyncIterator[Yard]:
    """The same, with workers that run."""
    async with halted.running():
        yield halted
