"""The worker's health over HTTP: `/healthz` while the process loop lives, `/readyz` while it really polls,
and `/status` with what each queue does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from workers.client.connection import POLLER_ALIVE
from workers.client.errors import TemporalError, rpc_errors
from workers.conf import conf
from workers.interceptors.metrics import running
from workers.registry.registry import Queue


class _Server(uvicorn.Server):
    """Leaves the signals to the worker process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Watched:
    """A queue of this process: how it calls itself there, and how many activities it takes at once."""

    queue: Queue
    identity: str
    slots: int


@dataclass(frozen=True)
class QueueStatus:
    """What Temporal and this process say of a queue. `last_poll`: RFC 3339; None when it never polled."""

    queue: str
    identity: str
    polling: bool
    last_poll: str | None
    activities: int
    slots: int


class Health:
    """An HTTP server on `address` (host, port) in the workers' own loop: a stuck loop answers nothing."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.draining = False
        self._client: Client | None = None
        self._watched: Sequence[Watched] = ()
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/status", self._status),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, lifespan="off", access_log=False, log_level="warning"
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the port; OSError when it is taken."""
        listener = socket.create_server(self.address)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task:
            with suppress(asyncio.CancelledError):
                await self._task

    def watch(self, client: Client, watched: Sequence[Watched]) -> None:
        """From now on ready means: Temporal has lately been polled by these identities on these queues."""
        self._client, self._watched = client, watched

    async def reasons(self) -> list[str]:
        """Why the process is not ready; empty when it is. Asks Temporal itself, not our own belief."""
        try:
            found = [] if self.draining else await self.queues()
        except TemporalError as error:
            return [error.message]
        if self.draining:  # it may have begun while Temporal was asked
            return ["The worker is draining."]
        if not found:
            return ["The worker has not started polling."]
        return [f"{status.queue} is not polled." for status in found if not status.polling]

    async def queues(self) -> list[QueueStatus]:
        """The status of each queue; empty before the workers run. Raises TemporalUnavailable."""
        if self._client is None:
            return []
        client = self._client
        return await asyncio.gather(*(self._queue(client, watched) for watched in self._watched))

    async def _queue(self, client: Client, watched: Watched) -> QueueStatus:
        polls = [p for p in await _pollers(client, watched.queue) if p.identity == watched.identity]
        last = max((p.last_access_time.ToDatetime(tzinfo=UTC) for p in polls), default=None)
        return QueueStatus(
            queue=watched.queue.name,
            identity=watched.identity,
            polling=last is not None and datetime.now(UTC) - last < POLLER_ALIVE and not self.draining,
            last_poll=last.isoformat() if last else None,
            activities=running[watched.queue.name],
            slots=watched.slots,
        )

    async def _healthz(self, request: Request) -> JSONResponse:
        return JSONResponse({"ok": True})

    async def _readyz(self, request: Request) -> JSONResponse:
        reasons = await self.reasons()
        return JSONResponse({"ok": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def _status(self, request: Request) -> JSONResponse:
        try:
            found = await self.queues()
        except TemporalError as error:
            return JSONResponse({"draining": self.draining, "error": error.message, "queues": []}, 503)
        return JSONResponse({"draining": self.draining, "queues": [asdict(status) for status in found]})


async def _pollers(client: Client, queue: Queue) -> Sequence[PollerInfo]:
    kind = (
        TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if queue.workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    )
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue.name), task_queue_type=kind
    )
    with rpc_errors():
        answer = await client.workflow_service.describe_task_queue(
            request, timeout=timedelta(seconds=conf().rpc_timeout)
        )
    return answer.pollers
