"""The binary of the Temporal dev server.

In this order: TEMPORAL_CLI, `temporal` on PATH, the user's cache, the SDK's download, `go install`. The last
two fill that cache. With TEMPORAL_ADDRESS set there is a server already, and no binary is needed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

VERSION = "1.5.1"
# The last version whose go.mod has no `replace` line: later ones cannot be installed by go.
MODULE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
_BUILD_SECONDS = 900.0


class Unavailable(Exception):
    """No dev server can run here; the message says what was tried and why each attempt failed."""


def default_cache() -> Path:
    """The user's cache folder for this project."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "signalbox"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signalbox"


def _existing(cached: Path) -> Path | None:
    """Raises Unavailable when TEMPORAL_CLI names none: a command that is set is the only one tried."""
    named = os.environ.get("TEMPORAL_CLI")
    found = shutil.which(named or "temporal")
    if named and not found:
        raise Unavailable(f"TEMPORAL_CLI: {named} is not an executable.")
    if found:
        return Path(found)
    return cached if os.access(cached, os.X_OK) else None


async def _download(folder: str) -> None:
    """The SDK's own download. It fetches only to start at once, so that server is ended again."""
    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=folder, dev_server_download_version=f"v{VERSION}", dev_server_log_level="error"
    )
    await environment.shutdown()


async def _build(folder: str) -> None:
    go = shutil.which("go")
    if not go:
        raise RuntimeError("go is not on PATH")
    build = await asyncio.create_subprocess_exec(
        *(go, "install", MODULE),
        env={**os.environ, "GOBIN": folder},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await asyncio.wait_for(build.communicate(), _BUILD_SECONDS)
    except BaseException:
        build.kill()
        await build.wait()
        raise
    if build.returncode:
        raise RuntimeError(last_line(errors) or f"exit code {build.returncode}")


def last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


_FETCHES: tuple[tuple[str, Callable[[str], Awaitable[None]]], ...] = (
    ("the SDK's download", _download),
    (f"go install {MODULE}", _build),
)


def _keep(folder: Path, cached: Path) -> None:
    """Move the complete binary into place at once: a half-fetched one must never look like a whole one."""
    max(folder.iterdir(), key=lambda path: path.stat().st_size).replace(cached)


async def find_binary(cache_dir: Path | None = None) -> Path:
    """The dev server's binary, fetched or built into the cache when there is none. Raises Unavailable."""
    cached = (cache_dir or default_cache()) / f"temporal-{VERSION}"
    existing = _existing(cached)
    if existing:
        return existing
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The cache folder {cached.parent} cannot be made: {error.strerror}.") from error
    tried = ["a binary: none is on PATH or in the cache, and TEMPORAL_CLI is not set"]
    for name, fetch in _FETCHES:
        try:
            with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
                await fetch(folder)
                _keep(Path(folder), cached)
        except (RuntimeError, OSError, TimeoutError) as error:
            tried.append(f"{name}: {str(error).strip()[:300] or type(error).__name__}")
        else:
            return cached
    ways = "; ".join(tried)
    raise Unavailable(
        "No Temporal dev server is available. Set TEMPORAL_ADDRESS to a server, or TEMPORAL_CLI to a binary. "
        f"Tried: {ways}."
    )
