"""What workers run for the platform: the breakers on a queue of their own, and the ready-made workflows."""

from __future__ import annotations

from workers.activities.alerts import raise_alert
from workers.activities.breaker import find_held, offer_probe, release_held
from workers.activities.dynamic import refuse_unknown
from workers.activities.flags import resolve_flags
from workers.activities.http import call_http
from workers.activities.resolve import resolve_activities, resolve_workflows
from workers.activities.transaction import run_transaction
from workers.queues import BREAKERS, DYNAMIC, PLATFORM
from workers.registry import registry
from workers.workflows.approval import ApprovalWorkflow
from workers.workflows.breaker import BreakerWorkflow
from workers.workflows.circuit_breaker import CircuitBreakerWorkflow
from workers.workflows.dynamic import DynamicWorkflow, NamedByTypeWorkflow
from workers.workflows.entity import EventSourcedWorkflow
from workers.workflows.event_driven import EventDrivenWorkflow
from workers.workflows.long_running import LongRunningWorkflow
from workers.workflows.recovery import RecoveryWorkflow
from workers.workflows.saga import SagaWorkflow

registry.add(BREAKERS, entities=[BreakerWorkflow], activities=[find_held, offer_probe, release_held])
registry.add(
    PLATFORM,
    workflows=[CircuitBreakerWorkflow, RecoveryWorkflow, SagaWorkflow],
    entities=[ApprovalWorkflow, EventDrivenWorkflow, EventSourcedWorkflow, LongRunningWorkflow],
    activities=[call_http, raise_alert, run_transaction],
)
registry.add(PLATFORM, activities=[resolve_activities, resolve_flags, resolve_workflows])
registry.add(DYNAMIC, workflows=[DynamicWorkflow, NamedByTypeWorkflow], activities=[refuse_unknown])
