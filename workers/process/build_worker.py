"""A Worker for a queue: how much it does at once, on which threads, and what surrounds it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import (
    Plugin,
    PollerBehaviorAutoscaling,
    ResourceBasedSlotConfig,
    Worker,
    WorkerTuner,
)

from workers.conf import WorkersConf
from workers.process.versions import deployment_config
from workers.registry.registry import Queue

# Of the machine (or its cgroup): beyond these no more work is taken, with WORKER_TUNING=resources.
_MEMORY, _CPU = 0.8, 0.9
# Local activities (audit.record) have slots and threads of their own: however long the other activities take,
# the end of a run never waits for them.
_LOCAL_SLOTS = 16


def activity_slots(settings: WorkersConf, queue: Queue) -> int:
    """Activities at once in this process: WORKER_QUEUE_LIMITS, else what the queue was registered with, else
    WORKER_ACTIVITY_THREADS."""
    name = queue.name.removesuffix(f"-{settings.queue_suffix}") if settings.queue_suffix else queue.name
    return settings.queue_limits.get(name) or queue.max_activities or settings.activity_threads


def _slots(settings: WorkersConf, queue: Queue) -> dict[str, Any]:
    """Fixed numbers; or as many as memory and CPU allow, up to the same numbers."""
    activities, tasks = activity_slots(settings, queue), queue.max_workflow_tasks
    if settings.tuning == "fixed":
        return {
            "max_concurrent_activities": activities,
            "max_concurrent_local_activities": _LOCAL_SLOTS,
            "max_concurrent_workflow_tasks": tasks,
        }
    workflows = ResourceBasedSlotConfig(maximum_slots=tasks) if tasks else None
    tuner = WorkerTuner.create_resource_based(
        target_memory_usage=_MEMORY,
        target_cpu_usage=_CPU,
        workflow_config=workflows,
        activity_config=ResourceBasedSlotConfig(maximum_slots=activities, minimum_slots=1),
        local_activity_config=ResourceBasedSlotConfig(maximum_slots=_LOCAL_SLOTS, minimum_slots=1),
    )
    return {"tuner": tuner}


def _pollers(settings: WorkersConf) -> dict[str, Any]:
    """The SDK's fixed number; or as many as the server's backlog asks for, up to WORKER_MAX_POLLERS."""
    most = settings.max_pollers
    if not most:
        return {}
    behavior = PollerBehaviorAutoscaling(minimum=1, maximum=most, initial=min(5, most))
    return {"workflow_task_poller_behavior": behavior, "activity_task_poller_behavior": behavior}


def build(
    client: Client, queue: Queue, settings: WorkersConf, plugins: Sequence[Plugin], identity: str
) -> Worker:
    """`plugins`: worker_plugins(). Raises what the SDK refuses of a workflow or an activity."""
    threads = activity_slots(settings, queue) + _LOCAL_SLOTS
    return Worker(
        client,
        task_queue=queue.name,
        workflows=queue.workflows,
        activities=queue.activities,
        activity_executor=ThreadPoolExecutor(threads, thread_name_prefix=queue.name),
        max_task_queue_activities_per_second=queue.max_activities_per_second,
        deployment_config=deployment_config(settings),
        plugins=plugins,
        identity=identity,
        max_cached_workflows=settings.max_cached_workflows,
        graceful_shutdown_timeout=timedelta(seconds=settings.drain_seconds),
        **_slots(settings, queue),
        **_pollers(settings),
    )
