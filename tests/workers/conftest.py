"""Fake services for sagas, and workers that run their activities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.workers.patterns.saga.fake_services import FakeServices
from workers.patterns.alerts.activities import raise_alert
from workers.patterns.dynamic.activities import resolve_activities
from workers.patterns.saga.workflow import SagaWorkflow
from workers.registry.registry import registry


@pytest.fixture
def services_without_workers(queue: str, worker: Any) -> Iterator[FakeServices]:
    """Their activities are registered on this test's queue."""
    own = (made := FakeServices(queue)).activities()
    made.running = lambda: worker(
        queue,
        workflows=[SagaWorkflow],
        activities=[*own, resolve_activities, raise_alert],
    )
    registry.load()
    registry.add(queue, activities=own)
    yield made
    del registry.queues[queue]


@pytest.fixture
async def services(services_without_workers: FakeServices) -> AsyncIterator[FakeServices]:
    """The same, with workers that run."""
    async with services_without_workers.running():
        yield services_without_workers
