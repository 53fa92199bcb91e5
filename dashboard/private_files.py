"""Folders and files that no other account of the machine may read: sessions, password hashes, histories."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def private_folder(path: Path) -> None:
    """Make it, or close one of ours that others may read. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    _close(path, 0o700)


def private_file(path: Path) -> None:
    """Make an empty one, or close one of ours that others may read. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    _close(path, 0o600)


def _close(path: Path, mode: int) -> None:
    found = path.stat()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        path.chmod(mode)


def private_database(path: Path, state: Path) -> None:
    """See to the file of an SQLite database before SQLite makes it; its side files get the same mode. The
    folder too, where that is the state folder. Raises ImproperlyConfigured."""
    try:
        if path.parent == state:
            private_folder(state)
        private_file(path)
    except OSError as error:
        mine = path.parent == state
        what = f"SIGNALBOX_STATE_DIR: the folder {state}" if mine else f"DATABASE_URL: the file {path}"
        raise ImproperlyConfigured(f"{what} cannot be used: {error.strerror}.") from error
