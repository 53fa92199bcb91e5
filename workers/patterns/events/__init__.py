"""Event-sourced and event-driven workflows."""

from __future__ import annotations
