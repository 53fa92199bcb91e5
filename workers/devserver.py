"""A Temporal server for development: finds or fetches the binary, starts it tuned, makes the namespace.

When TEMPORAL_ADDRESS is set there is a server already, and nobody calls `start`. The flags were measured on
one machine with one history shard; a production cluster needs none of them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

VERSION = "1.5.1"
MODULE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
HOST = "127.0.0.1"
RETENTION = timedelta(days=7)
_START_SECONDS = 30.0
_BUILD_SECONDS = 900.0
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


class Unavailable(Exception):
    """No server could be had; the message says what was tried and what each way said."""


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


def default_cache() -> Path:
    """The user's cache folder for this project."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "signalbox"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signalbox"


def _existing(kept: Path) -> tuple[Path | None, str]:
    named = os.environ.get("TEMPORAL_CLI")
    if named:
        found = shutil.which(named)
        return (Path(found), "") if found else (None, f"TEMPORAL_CLI: {named} is not an executable")
    on_path = shutil.which("temporal")
    if on_path:
        return Path(on_path), ""
    if os.access(kept, os.X_OK):
        return kept, ""
    return None, "a binary: none is on PATH, none was kept, TEMPORAL_CLI is not set"


def _keep(folder: Path, kept: Path) -> None:
    """Move the complete binary into place at once: a half-built one must never look like a whole one."""
    max(folder.iterdir(), key=lambda path: path.stat().st_size).replace(kept)


async def _download(kept: Path) -> None:
    """The SDK's own download; it only fetches to start at once, so that server is ended again."""
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        environment = await WorkflowEnvironment.start_local(
            download_dest_dir=folder, dev_server_download_version=f"v{VERSION}", dev_server_log_level="error"
        )
        await environment.shutdown()
        _keep(Path(folder), kept)


async def _build(kept: Path) -> None:
    """`go install`, into a folder of its own."""
    go = shutil.which("go")
    if not go:
        raise RuntimeError("go is not on PATH")
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        build = await asyncio.create_subprocess_exec(
            *(go, "install", MODULE),
            env={**os.environ, "GOBIN": folder},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await asyncio.wait_for(build.communicate(), _BUILD_SECONDS)
        except BaseException:
            build.kill()
            await build.wait()
            raise
        if build.returncode:
            raise RuntimeError(_last_line(said) or f"exit code {build.returncode}")
        _keep(Path(folder), kept)


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


_FETCHES: tuple[tuple[str, Callable[[Path], Awaitable[None]]], ...] = (
    ("the SDK's download", _download),
    (f"go install {MODULE}", _build),
)


async def find_binary(cache_dir: Path | None = None) -> Path:
    """The dev server's binary, fetched or built into the cache when there is none. Raises Unavailable."""
    kept = (cache_dir or default_cache()) / f"temporal-{VERSION}"
    binary, said = _existing(kept)
    if binary:
        return binary
    tried = [said]
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The cache folder {kept.parent} cannot be made: {error.strerror}.") from error
    for name, fetch in _FETCHES:
        try:
            await fetch(kept)
        except (RuntimeError, OSError, TimeoutError) as error:
            tried.append(f"{name}: {str(error).strip()[:300] or type(error).__name__}")
        else:
            return kept
    raise Unavailable(
        "No Temporal server is to be had. Set TEMPORAL_ADDRESS to one, or TEMPORAL_CLI to a binary. Tried: "
        + "; ".join(tried)
        + "."
    )


def _port(wanted: int) -> int:
    """`wanted`, or any free one for 0. Raises Unavailable when it is taken."""
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
) -> DevServer:
    """Start a server and wait until its frontend answers for `namespace` (made with 7 days' retention).

    `port` 0: any free one. `database`: None keeps everything in memory. `ui_port`: also serve Temporal's own
    Web UI there, 0 does not. Raises Unavailable.
    """
    binary, chosen = await find_binary(cache_dir), _port(port)
    log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the server)
    # A session of its own: Ctrl-C in the terminal must not end the server before its clients.
    process = subprocess.Popen(  # noqa: ASYNC220 (starting takes no time, and any loop may end it)
        _command(binary, chosen, database, ui_port),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    server = DevServer(f"{HOST}:{chosen}", process, log)
    try:
        async with asyncio.timeout(_START_SECONDS):
            await _ready(server, namespace)
    except TimeoutError as error:
        await server.stop()
        raise Unavailable(f"The Temporal server did not answer within {_START_SECONDS:.0f} s.") from error
    except BaseException:
        await server.stop()
        raise
    return server


async def _ready(server: DevServer, namespace: str) -> None:
    while True:
        if server.process.poll() is not None:
            server.log.seek(0)
            raise Unavailable(
                f"The Temporal server ended at once: {_last_line(server.log.read()) or 'no word'}"
            )
        try:
            client = await Client.connect(server.address, namespace=namespace)
        except RuntimeError:  # the SDK's word for "not yet"
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
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            await client.count_workflows("")
        except RPCError as error:
            # A new namespace reaches the frontend's cache a moment later.
            if error.status is not RPCStatusCode.NOT_FOUND or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
