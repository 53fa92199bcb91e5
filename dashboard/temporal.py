"""What the console brings to workers: it keeps the audit of runs, and knows the amounts of those that a
breaker holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from temporalio import activity
from temporalio.client import WorkflowExecution

from dashboard import formats
from dashboard.audit import log as audit
from dashboard.models import AuditEntry
from dashboard.temporal_api.rows import amount_of, attributes_of
from workers.conf import conf
from workers.contracts.lifecycle import RECORD, Lifecycle
from workers.patterns.breaker.activities import amounts
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


async def amounts_in_words(runs: Sequence[WorkflowExecution]) -> str:
    """The sums of what these runs are worth, as `€1,552.00 and 20.00 CHF`; those without an amount add
    nothing."""
    sums: Counter[str] = Counter()
    for run in runs:
        attributes = attributes_of(run.raw_info.search_attributes.indexed_fields)
        amount = amount_of(run.workflow_type, attributes, await run.memo())
        if amount:
            sums[amount.currency] += amount.minor
    return formats.sums(sums)


registry.everywhere(record)
amounts.in_words = amounts_in_words
