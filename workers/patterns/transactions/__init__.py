"""Database transactions as activities, applied once."""

from __future__ import annotations
