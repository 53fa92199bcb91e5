"""Sagas: steps forward, each with a compensation."""

from __future__ import annotations
