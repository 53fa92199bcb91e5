"""The yard: a small outside world for sagas, and workers for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.workers.patterns.saga.fake_services import Yard
from workers.patterns.alerts.activities import raise_alert
from workers.patterns.dynamic.resolve import resolve_activities, resolve_workflows
from workers.patterns.saga.workflow import SagaWorkflow
from workers.registry.registry import registry


@pytest.fixture
def halted(queue: str, worker: Any) -> Iterator[Yard]:
    """A world whose activities are registered on this test's queue."""
    own = (made := Yard(queue)).activities()
    made.running = lambda: worker(
        queue,
        workflows=[SagaWorkflow],
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
