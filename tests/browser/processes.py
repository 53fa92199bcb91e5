"""The console with Temporal, sandbox, worker and web server in processes of its own, for browsers to visit.

Its own Temporal server, as workers of other tests must not take its tasks, nor it theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from dashboard.conf import ROOT

PASSWORD = "only-for-browser-tests"
SUPERUSER = "root"
START_SECONDS = 60
DJANGO = (sys.executable, "manage.py")


@dataclass
class Console:
    """Where it is, and the environment that its commands run in."""

    url: str
    sandbox: str
    environment: dict[str, str]
    folder: Path

    def manage(self, *command: str) -> str:
        """Run a management command to its end; its output."""
        done = subprocess.run(
            [*DJANGO, *command], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process with its output in a file; ended in the end."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def log(self, name: str) -> str:
        """What a process has written so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def until_up(self, url: str, name: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process answers with 200; fail with what it wrote when it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url, timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{name} does not answer on {url}:\n{self.log(name)}")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def temporal() -> Iterator[str]:
    """A Temporal dev server; its address."""
    from workers.devserver import server as devserver

    # In a thread: this one has the event loop of the test run.
    with ThreadPoolExecutor(1) as thread:
        server = thread.submit(asyncio.run, devserver.start()).result()
        try:
            yield server.address
        finally:
            thread.submit(asyncio.run, server.stop()).result()


@contextmanager
def console(folder: Path) -> Iterator[Console]:
    """Everything that runs, from the first process to the last."""
    web, sandbox, health = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        address = stack.enter_context(temporal())
        own = {
            "TEMPORAL_ADDRESS": address,
            "SIGNALBOX_MODE": "development",
            "SIGNALBOX_STATE_DIR": str(folder / "state"),
            "SANDBOX_URL": f"http://127.0.0.1:{sandbox}",
            "BREAKER_OPEN_SECONDS": "4",
            "DEMO_PASSWORD": PASSWORD,
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }
        it = Console(f"http://127.0.0.1:{web}", own["SANDBOX_URL"], {**os.environ, **own}, folder)
        it.manage("migrate", "--verbosity=0")
        it.manage("demo_users")
        it.manage("createsuperuser", "--noinput", "--username", SUPERUSER, "--email", "root@example.org")
        stack.enter_context(it.running("sandbox", *DJANGO, "sandbox", "--port", str(sandbox)))
        working = (*DJANGO, "runworker", "--health-port", str(health))
        worker = stack.enter_context(it.running("worker", *working))
        server = stack.enter_context(it.running("web", *DJANGO, "runweb", "--port", str(web)))
        it.until_up(f"{it.url}/healthz", "web", server)
        it.until_up(f"http://127.0.0.1:{health}/readyz", "worker", worker)
        yield it
