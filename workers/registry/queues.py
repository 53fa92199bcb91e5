"""Names of the platform's own task queues. Apps have theirs."""

from __future__ import annotations

from workers.patterns.breaker.names import QUEUE as BREAKERS

PLATFORM = "platform-queue"
"""The ready-made workflows and the activities that they share."""

DYNAMIC = "dynamic-queue"
"""Workflows and activities that are known by name only, kept away from the others."""

__all__ = ["BREAKERS", "DYNAMIC", "PLATFORM"]
