"""Batches and long-running work with progress."""

from __future__ import annotations
