"""What batches bring to workers."""

from __future__ import annotations

from workers.patterns.batches.workflow import LongRunningWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("batches")
plugin.add(PLATFORM, entities=[LongRunningWorkflow])
