"""Settings of the test run: development mode, a file database (threads must share it), fast hashing,
and patience with the answers of workflows."""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path

os.environ.setdefault("SIGNALBOX_MODE", "development")
# A busy machine answers late; tests of what a page says while there is no verdict set their own limit.
os.environ.setdefault("VERDICT_SECONDS", "20")
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
