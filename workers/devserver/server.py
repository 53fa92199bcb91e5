"""A Temporal server for development: started tuned, with its namespace.

The flags were measured on one machine with one history shard; a production cluster needs none of them. Why
the SDK's own `WorkflowEnvironment.start_local` does not start it: docs/decisions.md.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workers.devserver.binary import Unavailable, find_binary, last_line

HOST = "127.0.0.1"
RETENTION = timedelta(days=7)
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0

# The dev server's defaults are limits meant for clusters: 43 ms a task, timers rounded up to a second.
TUNING = (
    "history.transferProcessorMaxPollRPS=2000",
    "history.timerProcessorMaxPollRPS=2000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "history.visibilityProcessorMaxPollRPS=2000",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "frontend.WorkerHeartbeatsEnabled=true",
    "frontend.ListWorkersEnabled=true",
)


@dataclass
class DevServer:
    """A running dev server. `address` is host:port."""

    address: str
    process: subprocess.Popen[bytes]
    log: IO[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def stop(self) -> None:
        """End it, gently at first. Stopping twice is fine."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                await asyncio.to_thread(self.process.wait)
        self.log.close()


def _port(wanted: int) -> int:
    """`wanted`, or any free one for 0. Raises Unavailable when it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise Unavailable(f"Port {wanted} is in use, so no Temporal server can start on it.") from error
        return int(probe.getsockname()[1])


def _command(binary: Path, port: int, database: Path | None, ui_port: int) -> list[str]:
    command = [str(binary), "server", "start-dev", "--ip", HOST, "--port", str(port)]
    command += ["--ui-port", str(ui_port)] if ui_port else ["--headless"]
    command += ["--log-level", "error"]
    if database:
        command += ["--db-filename", str(database)]
    for value in TUNING:
        command += ["--dynamic-config-value", value]
    return command


async def start(
    *,
    port: int = 0,
    database: Path | None = None,
    namespace: str = "default",
    cache_dir: Path | None = None,
    ui_port: int = 0,
    on_spawn: Callable[[int], None] = lambda pid: None,
) -> DevServer:
    """Start a server and wait until its frontend answers for `namespace` (made with 7 days' retention).

    port: 0 takes any free one.
    database: None keeps everything in memory.
    ui_port: where Temporal's own Web UI is served; 0: nowhere.
    on_spawn: called with the process id, which is also its process group, before the server answers.
    Raises Unavailable.
    """
    binary, chosen = await find_binary(cache_dir), _port(port)
    server = _launch(_command(binary, chosen, database, ui_port), chosen)
    try:
        on_spawn(server.pid)
        async with asyncio.timeout(_START_SECONDS):
            await _ready(server, binary, namespace)
    except BaseException as error:
        await server.stop()
        if isinstance(error, TimeoutError):
            raise Unavailable(f"The Temporal server did not answer in {_START_SECONDS:.0f} s.") from error
        if isinstance(error, RPCError):
            raise Unavailable(f"The Temporal server refused its namespace: {error.message}.") from error
        raise
    return server


def _launch(command: list[str], port: int) -> DevServer:
    log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the server)
    # A session of its own: Ctrl-C in the terminal must not end the server before its clients.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    return DevServer(f"{HOST}:{port}", process, log)


async def _ready(server: DevServer, binary: Path, namespace: str) -> None:
    while True:
        if server.process.poll() is not None:
            server.log.seek(0)
            last = last_line(server.log.read()) or "no output"
            raise Unavailable(f"The Temporal server {binary} ended at once: {last}")
        try:
            client = await Client.connect(server.address, namespace=namespace)
        except RuntimeError:  # what the SDK raises while nothing answers
            await asyncio.sleep(0.05)
        else:
            await _make_namespace(client)
            return


async def _make_namespace(client: Client) -> None:
    """Make the namespace unless it exists, and wait until the frontend lists its workflows."""
    describe = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        await client.workflow_service.describe_namespace(describe, retry=True)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        retention = Duration(seconds=int(RETENTION.total_seconds()))
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=client.namespace, workflow_execution_retention_period=retention
            )
        )
    while True:  # until the caller's deadline
        try:
            await client.count_workflows("")
        except RPCError as error:
            # A new namespace reaches the frontend's cache a moment later.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(0.1)
        else:
            return
