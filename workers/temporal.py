"""What workers run for the platform: the breakers, on a queue of their own."""

from __future__ import annotations

from workers.activities.breaker import offer_probe, release_held
from workers.patterns.breaker import QUEUE
from workers.registry import registry
from workers.workflows.breaker import BreakerWorkflow

registry.add(QUEUE, workflows=[BreakerWorkflow], activities=[offer_probe, release_held])
