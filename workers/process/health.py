"""The worker's health over HTTP: `/healthz` while the process loop lives, `/readyz` while it takes work,
and `/status` with what each queue does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client

from workers.client.connection import ACTIVITY_TASKS, POLLER_ALIVE, WORKFLOW_TASKS, last_polls
from workers.client.errors import TemporalError
from workers.interceptors.attempts import named, overdue, running
from workers.registry.registry import Queue

_KINDS = WORKFLOW_TASKS, ACTIVITY_TASKS


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

    @property
    def name(self) -> str:
        return self.queue.name

    def activities(self) -> int:
        """Slots that are taken now."""
        return sum(not info.is_local for info in running(self.name))

    def blocked(self) -> str:
        """A sentence when all slots are taken by attempts that the server has given up, else ""."""
        late = overdue(self.name)
        if len(late) < self.slots:
            return ""
        return f"{self.name}: all {self.slots} activity slots are held past their timeout: {named(late)}."


@dataclass(frozen=True)
class QueueStatus:
    """What Temporal and this process say of a queue.

    polling: does it poll for workflow tasks and for activities, as far as it has either? A queue whose
        activity slots are all taken polls for no more of them, and counts as polling.
    last_poll: the older of both, RFC 3339; None when it never polled for one of them.
    activities, overdue: slots that are taken, and those taken by attempts past their timeout.
    """

    queue: str
    identity: str
    polling: bool
    last_poll: str | None
    activities: int
    overdue: int
    slots: int


class Health:
    """An HTTP server on `address` (host, port; 0: none) in the workers' own loop: a stuck loop answers
    nothing."""

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
        if not self.address[1]:
            return
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
        if self.draining:  # it may have begun while Temporal was called
            return ["The worker is draining."]
        if not found:
            return ["The worker has not started polling."]
        silent = [f"{status.queue} is not polled." for status in found if not status.polling]
        return [*silent, *filter(None, (watched.blocked() for watched in self._watched))]

    async def queues(self) -> list[QueueStatus]:
        """The status of each queue; empty before the workers run. Raises TemporalUnavailable."""
        if self._client is None:
            return []
        client = self._client
        return await asyncio.gather(*(self._queue(client, watched) for watched in self._watched))

    async def _queue(self, client: Client, watched: Watched) -> QueueStatus:
        activities, queue = watched.activities(), watched.queue
        busy = activities >= watched.slots
        wanted = [bool(queue.workflows), bool(queue.activities) and not busy]
        kinds = [kind for kind, is_wanted in zip(_KINDS, wanted, strict=True) if is_wanted]
        polls = await asyncio.gather(*(last_polls(client, queue.name, kind) for kind in kinds))
        own = [poll.get(watched.identity) for poll in polls]
        last = min((at for at in own if at), default=None) if all(own) else None
        alive = not kinds or (last is not None and datetime.now(UTC) - last < POLLER_ALIVE)
        return QueueStatus(
            queue=queue.name,
            identity=watched.identity,
            polling=alive and not self.draining,
            last_poll=last.isoformat() if last else None,
            activities=activities,
            overdue=len(overdue(queue.name)),
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
