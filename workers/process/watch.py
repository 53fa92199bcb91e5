"""What a worker process looks at while it runs, and logs: Temporal that is away, and slots that are held."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.worker import Worker

from workers.client.errors import TemporalError, rpc_errors
from workers.process.health import Watched

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_CALL_SECONDS = 3.0
_REMIND_SECONDS = 60.0


class Absence:
    """Says when Temporal is away: at once, then each minute, and when it is back. Times in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._began = ""
        self._said = 0.0

    def away(self, reason: str) -> None:
        now = self._clock()
        if self._since is None:
            self._since = self._said = now
            self._began = datetime.now().astimezone().isoformat(timespec="seconds")
            logger.warning("Temporal is away since %s: %s", self._began, reason)
        elif now - self._said >= _REMIND_SECONDS:
            self._said = now
            logger.warning(
                "Temporal is away since %s, for %.0f s: %s", self._began, now - self._since, reason
            )

    def back(self) -> None:
        if self._since is not None:
            logger.warning("Temporal is back after %.0f s.", self._clock() - self._since)
            self._since = None


async def watch_server(client: Client, workers: Sequence[Worker], every: float = _LOOK_SECONDS) -> None:
    """Log when Temporal is away, and let workers poll by the connection that renewed certificates made.

    Runs until it is cancelled. `every`: seconds between calls.
    """
    absence, service = Absence(), client.service_client
    connection = service.worker_service_client
    while True:
        try:
            with rpc_errors():
                await service.workflow_service.get_system_info(
                    GetSystemInfoRequest(), timeout=timedelta(seconds=_CALL_SECONDS)
                )
            absence.back()
        except TemporalError as error:
            absence.away(error.message)
        if connection is not service.worker_service_client:
            connection = service.worker_service_client
            for worker in workers:
                worker.client = client
        await asyncio.sleep(every)


async def watch_slots(watched: Sequence[Watched], every: float = _LOOK_SECONDS) -> None:
    """Log once when attempts past their timeout hold all activity slots of a queue, and once when no longer.

    Runs until it is cancelled. `every`: seconds between looks.
    """
    blocked: set[str] = set()
    while True:
        for item in watched:
            sentence = item.blocked()
            if sentence and item.name not in blocked:
                logger.error("%s", sentence)
                blocked.add(item.name)
            elif not sentence and item.name in blocked:
                logger.warning("%s: activity slots are free again.", item.name)
                blocked.discard(item.name)
        await asyncio.sleep(every)
