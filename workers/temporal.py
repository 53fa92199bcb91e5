"""What workers run for the platform: the breakers on a queue of their own, and the ready-made workflows."""

from __future__ import annotations

from workers.activities.alerts import raise_alert
from workers.activities.breaker import offer_probe, release_held
from workers.activities.resolve import resolve_activities
from workers.queues import BREAKERS, PLATFORM
from workers.registry import registry
from workers.workflows.approval import ApprovalWorkflow
from workers.workflows.breaker import BreakerWorkflow

registry.add(BREAKERS, workflows=[BreakerWorkflow], activities=[offer_probe, release_held])
registry.add(PLATFORM, activities=[raise_alert, resolve_activities])
registry.add(PLATFORM, workflows=[ApprovalWorkflow])
