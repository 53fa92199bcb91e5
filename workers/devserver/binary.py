"""The binary of the Temporal dev server: one that is there, else fetched or built into the user's cache."""

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
    """No server could be had; the message says what was tried and what each way said."""


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
            raise RuntimeError(last_line(said) or f"exit code {build.returncode}")
        _keep(Path(folder), kept)


def last_line(said: bytes) -> str:
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
