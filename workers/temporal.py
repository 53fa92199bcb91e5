"""What workers run for the platform: the breakers on a queue of their own, and the ready-made workflows."""

from __future__ import annotations

from workers.patterns.alerts.activities import raise_alert
from workers.patterns.approval.workflow import ApprovalWorkflow
from workers.patterns.batches.workflow import LongRunningWorkflow
from workers.patterns.breaker.activities import find_held, offer_probe, release_held
from workers.patterns.breaker.single_operation import CircuitBreakerWorkflow
from workers.patterns.breaker.workflow import BreakerWorkflow
from workers.patterns.dynamic.activities import refuse_unknown
from workers.patterns.dynamic.flags import resolve_flags
from workers.patterns.dynamic.resolve import resolve_activities, resolve_workflows
from workers.patterns.dynamic.workflow import DynamicWorkflow, NamedByTypeWorkflow
from workers.patterns.events.entity_workflow import EventSourcedWorkflow
from workers.patterns.events.event_driven_workflow import EventDrivenWorkflow
from workers.patterns.http.activities import call_http
from workers.patterns.recovery.workflow import RecoveryWorkflow
from workers.patterns.saga.workflow import SagaWorkflow
from workers.patterns.transactions.activities import run_transaction
from workers.registry.queues import BREAKERS, DYNAMIC, PLATFORM
from workers.registry.registry import registry

registry.add(BREAKERS, entities=[BreakerWorkflow], activities=[find_held, offer_probe, release_held])
registry.add(
    PLATFORM,
    workflows=[SagaWorkflow],
    # all that continue as new: pinned, they would hold their first build for ever
    entities=[
        ApprovalWorkflow,
        CircuitBreakerWorkflow,
        EventDrivenWorkflow,
        EventSourcedWorkflow,
        LongRunningWorkflow,
        RecoveryWorkflow,
    ],
    activities=[call_http, raise_alert, run_transaction],
)
registry.add(PLATFORM, activities=[resolve_activities, resolve_flags, resolve_workflows])
registry.add(DYNAMIC, workflows=[DynamicWorkflow, NamedByTypeWorkflow], activities=[refuse_unknown])
