"""PostgreSQL and Redis for a test run: real servers on free ports of the loopback address, data in a
temporary folder. PostgreSQL refuses to run as root, so it runs as the user postgres of Debian there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 30.0
DEBIAN = "/usr/lib/postgresql"


class Missing(Exception):
    """A server is not installed; the message says which package brings it."""


def program(name: str, package: str) -> str:
    """The path of a server's program, on PATH or where Debian keeps those of PostgreSQL. Raises Missing."""
    beside = sorted(Path(DEBIAN).glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(beside[-1]) if beside else None)
    if not found:
        raise Missing(f"There is no {name}; install the package {package}.")
    return found


def free_port() -> int:
    """A port that is free now."""
    with closing(socket.create_server((HOST, 0))) as listener:
        return int(listener.getsockname()[1])


def _listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen:\n{log.read_text(errors='replace')}")


@contextmanager
def _running(command: list[str], port: int, folder: Path, user: str | None) -> Iterator[None]:
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, user=user)
    try:
        _listening(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def postgresql() -> Iterator[str]:
    """A server with an empty database; its DATABASE_URL. Raises Missing."""
    initdb, server = program("initdb", "postgresql"), program("postgres", "postgresql")
    user, port = "postgres" if os.geteuid() == 0 else None, free_port()
    with tempfile.TemporaryDirectory(prefix="signalbox-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [initdb, "-D", str(data), "-U", "signalbox", "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=folder,
            check=True,
            capture_output=True,
            user=user,
        )
        command = [server, "-D", str(data), "-k", str(folder), "-h", HOST, "-p", str(port), "-F"]
        with _running(command, port, folder, user):
            yield f"postgres://signalbox@{HOST}:{port}/postgres"


@contextmanager
def redis() -> Iterator[str]:
    """A server that keeps everything in memory; its URL. Raises Missing."""
    server, port = program("redis-server", "redis-server"), free_port()
    with tempfile.TemporaryDirectory(prefix="signalbox-redis-") as name:
        command = [server, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
        with _running(command, port, Path(name), None):
            yield f"redis://{HOST}:{port}/0"
