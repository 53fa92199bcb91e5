"""The list of workflows."""

from __future__ import annotations
