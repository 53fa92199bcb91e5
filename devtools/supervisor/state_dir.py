"""The state folder of one checkout: its lock, its ports and its secret key."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dashboard.private_files import private_file, private_folder

HOST = "127.0.0.1"
_ENDING_SECONDS = 20.0


class Failure(Exception):
    """What ends `up`: one sentence for the person who typed it."""


def free(port: int) -> bool:
    """Whether this port of the loopback address can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def page_port(text: str) -> int:
    """The port of the page. Raises Failure when it is none, or in use."""
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 0 < port < 65_536:
        raise Failure(f"PORT must be between 1 and 65535, not {text!r}.")
    if not free(port):
        other = port + 1 if port < 65_535 else port - 1
        raise Failure(f"Port {port} is in use; end what uses it, or choose another: make up PORT={other}.")
    return port


def _owner(lock: Path) -> int | None:
    """The process that the lock file names, if it still runs."""
    try:
        pid = int(lock.read_text())
        os.kill(pid, 0)
    except (ValueError, OSError):
        return None
    return pid


def lock(state: Path, say: Callable[[str], None] = print) -> IO[str]:
    """Hold the state folder until the file is closed everywhere: two servers must not write one database.

    When the one before was killed, its processes are still being ended: `say` so, and wait. Raises Failure.
    """
    path = state / "lock"
    try:
        private_folder(state)
        handle = path.open("a+")
    except OSError as error:
        raise Failure(f"The state folder {state} cannot be used: {error.strerror}.") from error
    deadline, waiting = time.monotonic() + _ENDING_SECONDS, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = _owner(path)
            if owner or time.monotonic() > deadline:
                handle.close()
                who = f"process {owner}" if owner else "a process that is still ending"
                raise Failure(f"Signalbox already runs in {state}: {who}. Stop it first.") from None
            if not waiting:
                say(f"Waiting until the processes of the last run in {state} have ended.")
            waiting = True
            time.sleep(0.1)
        else:
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            return handle


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def ports(state: Path, names: list[str]) -> dict[str, int]:
    """A port for each name: the one of the last time while it is free, so that addresses stay; else any."""
    path = state / "ports.json"
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    chosen: dict[str, int] = {}
    for name in names:
        old = kept.get(name) if isinstance(kept, dict) else None
        if isinstance(old, int) and 1023 < old < 65_536 and old not in chosen.values() and free(old):
            chosen[name] = old
        else:
            chosen[name] = _any_port()
    path.write_text(json.dumps({**(kept if isinstance(kept, dict) else {}), **chosen}, indent=1))
    return chosen


def secret(state: Path, name: str, size: int = 48) -> Path:
    """The file of that name with a random text, made on first use and readable by its owner alone."""
    path = state / name
    if not path.exists() or not path.stat().st_size:
        new = path.with_suffix(".new")
        private_file(new)
        new.write_text(secrets.token_urlsafe(size))
        new.replace(path)  # at once: a full disk leaves no empty secret
    return path
