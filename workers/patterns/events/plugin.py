"""What entities and event-driven workflows bring to workers."""

from __future__ import annotations

from workers.patterns.events.entity_workflow import EventSourcedWorkflow
from workers.patterns.events.event_driven_workflow import EventDrivenWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("events")
plugin.add(PLATFORM, entities=[EventDrivenWorkflow, EventSourcedWorkflow])
