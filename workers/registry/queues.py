"""Names of the platform's own task queues. Patterns that need one of their own, and apps, name theirs."""

from __future__ import annotations

PLATFORM = "platform-queue"
"""The ready-made workflows and the activities that they share."""

DYNAMIC = "dynamic-queue"
"""Workflows and activities that are known by name only, kept away from the others."""
