"""The worker process: how it is built, watched, logged, deployed and ended."""

from __future__ import annotations
