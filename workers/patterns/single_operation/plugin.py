"""What operations behind breakers of their own bring to workers."""

from __future__ import annotations

from workers.patterns.single_operation.workflow import CircuitBreakerWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("single-operation")
plugin.add(PLATFORM, entities=[CircuitBreakerWorkflow])
