"""What this process counts, named `signalbox_...` in Prometheus; nothing where it has no metrics.

Labels are few and their values known beforehand, as each combination is a series of its own: types of
workflows and activities, outcomes, dependencies. Never ids, tenants or messages.
"""

from __future__ import annotations

from collections.abc import Mapping

from temporalio.common import MetricCounter, MetricMeter

COUNTERS: Mapping[str, str] = {
    "activities": "Attempts of activities, by outcome: completed, failed, refused, cancelled.",
    "workflow_ends": "Runs that ended here, by type and outcome; those that continue as new do not count.",
    "breaker_refusals": "Calls that an open breaker refused, by dependency.",
    "rate_limit_waits": "Starts of activities that waited for their turn.",
    "rate_limit_refusals": "Starts of activities that were sent away to come back later.",
    "tenant_refusals": "Runs, activities and signals that were refused for their tenant.",
    "audit_failures": "Lifecycle records that could not be written; auditreconcile writes them later.",
}
_counters: dict[str, MetricCounter] = {}


def use(meter: MetricMeter) -> None:
    """Count with this meter from now on."""
    _counters.update(
        (name, meter.create_counter(f"signalbox_{name}", told)) for name, told in COUNTERS.items()
    )


def enabled() -> bool:
    return bool(_counters)


def count(name: str, **labels: str) -> None:
    """Add one to a counter of COUNTERS; nothing where this process has no metrics."""
    if _counters:
        _counters[name].add(1, labels)
