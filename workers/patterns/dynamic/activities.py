"""What the dynamic queue says to activities that it does not have."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from workers.patterns.dynamic.resolve import UNKNOWN_ACTIVITY
from workers.registry.registry import registry


@activity.defn(dynamic=True)
async def refuse_unknown(args: Sequence[RawValue]) -> None:
    """Fails for good, and says where the activity runs: without this it would be retried for ever."""
    name, queues = activity.info().activity_type, registry.activity_queues()
    if name in queues:
        message = f"Activity {name} runs on {queues[name]}, not on this queue."
    else:
        message = f"No such activity: {name}. Registered: {', '.join(sorted(queues))}."
    raise ApplicationError(message, type=UNKNOWN_ACTIVITY, non_retryable=True)
