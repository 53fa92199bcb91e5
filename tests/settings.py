"""Settings of the test run: development mode, a file database (threads must share it), fast hashing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SIGNALBOX_MODE", "development")
os.environ.setdefault("SIGNALBOX_STATE_DIR", tempfile.mkdtemp(prefix="signalbox-test-"))

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATABASES, INSTALLED_APPS, _dashboard

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_dashboard.state_dir) / "test.sqlite3")}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.examples"]  # has a table of its own
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
