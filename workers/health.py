"""The worker's health over HTTP: `/healthz` while the process loop lives, `/readyz` while it really polls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from workers.conf import conf
from workers.errors import TemporalError, rpc_errors
from workers.registry import Queue


class _Server(uvicorn.Server):
    """Leaves the signals to the worker process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Health:
    """An HTTP server on `address` (host, port) in the workers' own loop: a stuck loop answers nothing."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.draining = False
        self._client: Client | None = None
        self._identities: Mapping[Queue, str] = {}
        routes = [Route("/healthz", self._healthz), Route("/readyz", self._readyz)]
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

    def watch(self, client: Client, identities: Mapping[Queue, str]) -> None:
        """From now on ready means: Temporal lists these identities as pollers of these queues."""
        self._client, self._identities = client, identities

    async def reasons(self) -> list[str]:
        """Why the process is not ready; empty when it is. Asks Temporal itself, not our own belief."""
        if self.draining:
            return ["The worker is draining."]
        if self._client is None:
            return ["The worker has not started polling."]
        try:
            polled = await asyncio.gather(
                *(self._polls(self._client, queue, name) for queue, name in self._identities.items())
            )
        except TemporalError as error:
            return [error.message]
        return [f"{q.name} is not polled." for q, ok in zip(self._identities, polled, strict=True) if not ok]

    @staticmethod
    async def _polls(client: Client, queue: Queue, identity: str) -> bool:
        kind = (
            TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
            if queue.workflows
            else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
        )
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue.name), task_queue_type=kind
        )
        with rpc_errors():
            answer = await client.workflow_service.describe_task_queue(
                request, timeout=timedelta(seconds=conf().rpc_timeout)
            )
        return any(poller.identity == identity for poller in answer.pollers)

    async def _healthz(self, request: Request) -> JSONResponse:
        return JSONResponse({"ok": True})

    async def _readyz(self, request: Request) -> JSONResponse:
        reasons = await self.reasons()
        return JSONResponse({"ok": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)
