"""The worker process: a Worker for each queue on one connection, its health, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Sequence
from enum import IntEnum
from typing import TypeVar

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Worker

from workers.client import attributes
from workers.client.connection import connect, process_name, set_client
from workers.client.errors import TemporalError, rpc_errors
from workers.conf import WorkersConf, conf
from workers.interceptors import worker_interceptors
from workers.patterns.breaker.start import start_breaker
from workers.process import metrics
from workers.process.build_worker import activity_slots, build
from workers.process.health import Health, Watched
from workers.registry.registry import Queue, registry

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Exit(IntEnum):
    """Exit codes of runworker. A second signal exits with 128 + its number, as shells expect."""

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


class _Stopped(Exception):
    """A signal came before the workers ran."""


async def connected(settings: WorkersConf, identity: str, runtime: Runtime | None = None) -> Client:
    try:
        return await connect(settings, patient=True, identity=identity, runtime=runtime)
    except TemporalError as error:
        raise Stop(Exit.UNAVAILABLE, f"Temporal at {settings.address}: {error.message}") from error


async def settled(awaitable: Awaitable[T], settings: WorkersConf) -> T:
    """The result of a call about attributes or breakers; its errors as a Stop."""
    try:
        return await awaitable
    except attributes.AttributeMismatch as error:
        raise Stop(Exit.ATTRIBUTES, str(error)) from error
    except TemporalError as error:
        raise Stop(Exit.UNAVAILABLE, f"Temporal at {settings.address}: {error.message}") from error


async def start_breakers(client: Client) -> None:
    """See to it that every registered breaker runs. A breaker that somebody ended starts afresh."""
    for config in registry.breakers.values():
        handle = await start_breaker(client, config)
        with rpc_errors():  # the settings of the worker that starts last count
            await handle.signal("configure", config)


class WorkerProcess:
    """Runs workers for `queues` until a signal, or until one of them fails."""

    def __init__(
        self, queues: Sequence[Queue], *, identity: str = "", host: str = "127.0.0.1", health_port: int = 0
    ) -> None:
        """`host`: where the health port and WORKER_METRICS_PORT are opened; 0: no health port."""
        self.queues = queues
        self.identity = identity
        self.host = host
        self.health = Health((host, health_port)) if health_port else None
        self.conf = conf()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Returns after a clean drain; raises Stop otherwise."""
        if threading.current_thread() is threading.main_thread():  # elsewhere under --reload
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._signalled, number)
        if self.health:
            try:
                await self.health.start()
            except OSError as error:
                raise Stop(Exit.USAGE, f"The health port cannot be opened: {error.strerror}.") from error
        try:
            client = await self._unless_stopped(self._prepare())
            await self._serve(client)
        except _Stopped:
            return
        finally:
            if self.health:
                await self.health.stop()

    def _name(self, role: str) -> str:
        return self.identity or process_name(role)

    def _watched(self, queue: Queue) -> Watched:
        return Watched(queue, self._name(queue.name), activity_slots(self.conf, queue))

    def _signalled(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            # Threads of activities cannot be made to end, so a clean exit might never come.
            logger.warning("Second signal: stopping at once.")
            os._exit(128 + number)
        logger.info("%s: draining for up to %g s.", number.name, self.conf.drain_seconds)
        if self.health:
            self.health.draining = True
        self.stopping.set()

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise _Stopped

    async def _prepare(self) -> Client:
        port = self.conf.metrics_port
        try:
            runtime = metrics.runtime(self.host, port)
        except OSError as error:
            raise Stop(Exit.USAGE, f"The metrics port {port} cannot be opened: {error}.") from error
        client = await connected(self.conf, self._name("worker"), runtime)
        await settled(attributes.ensure(client, [*attributes.PLATFORM, *registry.attributes]), self.conf)
        await settled(start_breakers(client), self.conf)
        set_client(client)
        return client

    async def _serve(self, client: Client) -> None:
        interceptors = worker_interceptors(client)
        try:
            workers = [
                build(client, queue, self.conf, interceptors, self._name(queue.name)) for queue in self.queues
            ]
        except Exception as error:
            raise Stop(Exit.WORKFLOW, f"A worker cannot be built: {error}") from error
        runs = [asyncio.create_task(worker.run()) for worker in workers]
        if self.health:
            self.health.watch(client, [self._watched(queue) for queue in self.queues])
        logger.info("Polling %s.", ", ".join(queue.name for queue in self.queues))
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({*runs, stop}, return_when=asyncio.FIRST_COMPLETED)
        if self.health:
            self.health.draining = True
        stop.cancel()
        failed = next((run.exception() for run in runs if run.done()), None)
        endings = await asyncio.gather(*(self._end(w, r) for w, r in zip(workers, runs, strict=True)))
        failed = failed or next(filter(None, endings), None)
        if failed:
            raise Stop(Exit.FATAL, f"A worker failed: {failed}") from failed

    @staticmethod
    async def _end(worker: Worker, run: asyncio.Task[None]) -> BaseException | None:
        if not run.done():
            await worker.shutdown()
        return (await asyncio.gather(run, return_exceptions=True))[0]
