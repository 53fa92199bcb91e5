"""What sagas bring to workers."""

from __future__ import annotations

from workers.patterns.saga.workflow import SagaWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("saga")
plugin.add(PLATFORM, workflows=[SagaWorkflow])
