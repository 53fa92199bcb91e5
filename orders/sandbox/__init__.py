"""The outside world of the orders domain as a real HTTP service in a process of its own."""

from __future__ import annotations
