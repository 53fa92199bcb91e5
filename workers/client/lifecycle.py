"""How `launch` records that a run began: by the registered activity, called as the plain function it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from workers import counters
from workers.contracts.lifecycle import RECORD, Event, Lifecycle
from workers.registry.registry import activity_name, registry

logger = logging.getLogger(__name__)

_SECONDS = 5.0
_TRIES = 2


def _called(fn: Callable[[Lifecycle], object], record: Lifecycle) -> None:
    close_old_connections()  # outside of requests and activities nothing else does it
    fn(record)


async def record_start(workflow_id: str, run_id: str, workflow_type: str, tenant: str) -> None:
    """Never raises: the run goes on whether or not the audit can be written; `auditreconcile` comes later.

    The run id is known only once the run exists, so a run of milliseconds can have its end recorded first.
    """
    record = Lifecycle(
        event=Event.STARTED,
        workflow_id=workflow_id,
        run_id=run_id,
        workflow_type=workflow_type,
        tenant=tenant,
        at=datetime.now(UTC),
    )
    fn = next((fn for fn in registry.shared if activity_name(fn) == RECORD), None)
    if fn is None:
        logger.warning("No app keeps an audit, so the start of %s is not recorded.", workflow_id)
        return
    for left in reversed(range(_TRIES)):
        try:
            await asyncio.wait_for(sync_to_async(_called)(fn, record), _SECONDS)
        except Exception as error:
            if not left:
                counters.count("audit_failures")
                logger.warning("The start of %s is not in the audit: %s", workflow_id, error)
        else:
            return
