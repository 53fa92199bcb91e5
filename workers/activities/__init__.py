"""Ready-made activities, which serve the patterns."""

from __future__ import annotations
