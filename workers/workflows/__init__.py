"""Ready-made workflows, built from the patterns."""

from __future__ import annotations
