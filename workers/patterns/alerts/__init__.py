"""Alerts to people outside of the console."""

from __future__ import annotations
