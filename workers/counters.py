"""What this project counts besides the SDK's own metrics, named `signalbox_...` in Prometheus.

The SDK counts activities, workflows and workflow tasks with their outcomes; here is what it cannot know. Both
are served at WORKER_METRICS_PORT, with the SDK's labels namespace, task_queue, workflow_type, activity_type.
Further labels are few and their values known beforehand, as each combination is a series: no ids, no tenants.
"""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import activity, workflow
from temporalio.common import MetricMeter

COUNTERS: Mapping[str, str] = {
    "audit_failures": "Lifecycle records that could not be written; auditreconcile writes them later.",
    "breaker_refusals": "Calls that an open breaker refused, by dependency.",
    "rate_limit_refusals": "Starts of activities that were sent away to come back later.",
    "rate_limit_waits": "Starts of activities that waited for their turn.",
    "tenant_refusals": "Runs, activities and signals that were refused for their tenant, by kind.",
}
_process = MetricMeter.noop


def use(meter: MetricMeter) -> None:
    """Count with the meter of this process's runtime where neither an activity nor a workflow counts."""
    global _process  # noqa: PLW0603 (one runtime a process is the SDK's own rule)
    _process = meter


def count(name: str, **labels: str) -> None:
    """Add one to a counter of COUNTERS: nothing while a workflow replays, or without WORKER_METRICS_PORT."""
    if workflow.in_workflow():
        meter = workflow.metric_meter()
    elif activity.in_activity():
        meter = activity.metric_meter()
    else:
        meter = _process
    meter.create_counter(f"signalbox_{name}", COUNTERS[name]).add(1, labels)
