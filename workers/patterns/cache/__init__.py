"""Results of activities, shared by all workers."""

from __future__ import annotations
