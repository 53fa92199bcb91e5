"""Settings of the test run: development mode, a file database (threads must share it), fast hashing."""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path

os.environ.setdefault("SIGNALBOX_MODE", "development")
if "SIGNALBOX_STATE_DIR" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="signalbox-test-", ignore_cleanup_errors=True)
    atexit.register(_folder.cleanup)
    os.environ["SIGNALBOX_STATE_DIR"] = _folder.name

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATABASES, INSTALLED_APPS, _dashboard

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_dashboard.state_dir) / "test.sqlite3")}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.examples"]  # has a table of its own
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
