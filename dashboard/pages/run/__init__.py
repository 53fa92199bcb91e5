"""The page of one run."""

from __future__ import annotations
