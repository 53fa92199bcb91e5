"""The worker process: a Worker for each queue on one connection, its health, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import NoReturn, TypeVar

from temporalio.client import Client
from temporalio.worker import Worker

from workers.client import attributes
from workers.client.connection import (
    ACTIVITY_TASKS,
    WORKFLOW_TASKS,
    connect,
    has_pollers,
    process_name,
    set_client,
)
from workers.client.errors import TemporalError
from workers.conf import WorkersConf, conf
from workers.interceptors.attempts import named, running
from workers.process import metrics
from workers.process.build_worker import activity_slots, build
from workers.process.health import Health, Watched
from workers.process.plugins import worker_plugins
from workers.process.versions import build_id
from workers.process.watch import watch_server, watch_slots
from workers.registry.registry import Queue, registry

logger = logging.getLogger(__name__)

T = TypeVar("T")

# After WORKER_DRAIN_SECONDS activities are cancelled; so long they may take to end and to report it.
CANCEL_SECONDS = 5.0


class Exit(IntEnum):
    """Exit codes of runworker. When a drain does not end, and at a second signal: 128 + its number."""

    OK = 0
    USAGE = 2
    UNAVAILABLE = 3
    ATTRIBUTES = 4
    WORKFLOW = 5
    FATAL = 6


class Stop(Exception):
    """The process must end: with `code`, and `message` says why."""

    def __init__(self, code: Exit, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


async def or_stop(awaitable: Awaitable[T], settings: WorkersConf) -> T:
    """The result of what is done before workers poll; its errors as a Stop."""
    try:
        return await awaitable
    except attributes.AttributeMismatch as error:
        raise Stop(Exit.ATTRIBUTES, str(error)) from error
    except TemporalError as error:
        raise Stop(Exit.UNAVAILABLE, f"Temporal at {settings.address}: {error.message}") from error


class WorkerProcess:
    """Runs workers for `queues` until a signal, or until one of them fails."""

    def __init__(
        self, queues: Sequence[Queue], *, identity: str = "", host: str = "127.0.0.1", health_port: int = 0
    ) -> None:
        """`host`: where `health_port` (0: none) and WORKER_METRICS_PORT are opened."""
        self.queues = queues
        self.identity = identity
        self.host = host
        self.health = Health((host, health_port))
        settings = conf()
        self.conf = settings.model_copy(update={"build_id": build_id(settings)})  # hashed once
        self.stopping = asyncio.Event()
        self._signal = signal.SIGTERM

    async def run(self) -> None:
        """Returns after a clean drain; raises Stop otherwise."""
        if threading.current_thread() is threading.main_thread():  # elsewhere under --reload
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._signalled, number)
        try:
            await self.health.start()
        except OSError as error:
            raise Stop(Exit.USAGE, f"The health port cannot be opened: {error.strerror}.") from error
        try:
            if client := await self._unless_stopped(self._prepare()):
                await self._serve(client)
        finally:
            await self.health.stop()

    def _name(self, role: str) -> str:
        return self.identity or process_name(role)

    def _watched(self, queue: Queue) -> Watched:
        return Watched(queue, self._name(queue.name), activity_slots(self.conf, queue))

    def _signalled(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            _exit(128 + number, "Second signal: stopping at once.")
        logger.info("%s: draining for up to %g s.", number.name, self.conf.drain_seconds)
        self.health.draining = True
        self._signal = number
        self.stopping.set()

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The result; None when a signal comes first."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    async def _prepare(self) -> Client:
        port = self.conf.metrics_port
        try:
            runtime = metrics.runtime(self.host, port)
        except OSError as error:
            raise Stop(Exit.USAGE, f"The metrics port {port} cannot be opened: {error}.") from error
        name = self._name("worker")
        client = await or_stop(connect(self.conf, for_worker=True, identity=name, runtime=runtime), self.conf)
        await or_stop(attributes.ensure(client, [*attributes.PLATFORM, *registry.attributes]), self.conf)
        for plugin in registry.plugins.values():
            await or_stop(plugin.prepare(client), self.conf)
        set_client(client)
        return client

    async def _serve(self, client: Client) -> None:
        plugins = worker_plugins()
        try:
            workers = [
                build(client, queue, self.conf, plugins, self._name(queue.name)) for queue in self.queues
            ]
        except Exception as error:
            raise Stop(Exit.WORKFLOW, f"A worker cannot be built: {error}") from error
        runs = [asyncio.create_task(worker.run()) for worker in workers]
        logger.info("Polling %s.", ", ".join(queue.name for queue in self.queues))
        await self._until_stopped(client, workers, runs)
        failed = next((run.exception() for run in runs if run.done()), None)
        code = Exit.FATAL if failed else 128 + self._signal
        with _bounded(self.conf.drain_seconds + CANCEL_SECONDS, code):
            endings = await asyncio.gather(*(self._end(w, r) for w, r in zip(workers, runs, strict=True)))
        failed = failed or next(filter(None, endings), None)
        if failed:
            raise Stop(Exit.FATAL, f"A worker failed: {failed}") from failed

    async def _until_stopped(
        self, client: Client, workers: Sequence[Worker], runs: Sequence[asyncio.Task[None]]
    ) -> None:
        """Watch the workers until a signal comes or one of them ends."""
        watched = [self._watched(queue) for queue in self.queues]
        self.health.watch(client, watched)
        watches = watch_server(client, workers), watch_slots(watched), self._name_unserved(client)
        *background, stop = map(asyncio.ensure_future, (*watches, self.stopping.wait()))
        await asyncio.wait({*runs, stop}, return_when=asyncio.FIRST_COMPLETED)
        self.health.draining = True
        for task in (*background, stop):
            task.cancel()

    async def _name_unserved(self, client: Client) -> None:
        """Log which registered queues no worker polls, here or elsewhere: what is called there waits."""
        served = {queue.name for queue in self.queues}
        others = [queue for queue in registry.queues.values() if queue.name not in served]
        with suppress(TemporalError):  # readiness tells of it
            for queue in others:
                kind = WORKFLOW_TASKS if queue.workflows else ACTIVITY_TASKS
                if not await has_pollers(client, queue.name, kind):
                    logger.warning("No worker polls %s: what workflows call there waits.", queue.name)

    @staticmethod
    async def _end(worker: Worker, run: asyncio.Task[None]) -> BaseException | None:
        if not run.done():
            await worker.shutdown()
        return (await asyncio.gather(run, return_exceptions=True))[0]


@contextmanager
def _bounded(seconds: float, code: int) -> Iterator[None]:
    """End the process with `code` when the block takes longer.

    By a thread, not by the event loop: a sync activity that never returns cannot be interrupted, and whatever
    has stopped the loop must not keep the process either.
    """

    def end() -> None:
        left = named(running(), most=100) or "none"
        _exit(code, f"The drain did not end within {seconds:g} s. Activities left: {left}.")

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _exit(code: int, message: str) -> NoReturn:
    """Without Python's finalisation, which would wait for the threads of activities."""
    logger.warning("%s", message)
    sys.stderr.flush()
    os._exit(code)
