"""What the console brings to workers: it keeps the audit of runs."""

from __future__ import annotations

from temporalio import activity

from dashboard.audit import log as audit
from dashboard.models import AuditEntry
from workers.conf import conf
from workers.contracts.lifecycle import RECORD, Lifecycle
from workers.registry.registry import registry

ACTOR = "signalbox"


@activity.defn(name=RECORD, no_thread_cancel_exception=True)
def record(event: Lifecycle) -> bool:
    """Add an event of a run to the audit; False when it is there already. Raises DatabaseError."""
    key = f"{event.run_id}:{event.event}"
    with audit.serialised():
        if AuditEntry.objects.filter(decision_id=key).exists():
            return False
        audit.append(
            actor=ACTOR,
            action=f"run {event.event.value.replace('_', ' ')}",
            workflow_id=event.workflow_id,
            run_id=event.run_id,
            namespace=conf().namespace,
            tenant=event.tenant,
            decision_id=key,
            phase=AuditEntry.Phase.OUTCOME,
            outcome=event.event.value,
            detail=event.detail,
        )
    return True


registry.everywhere(record)
