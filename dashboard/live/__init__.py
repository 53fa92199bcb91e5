"""What keeps a page current: regions that refresh themselves, and the last snapshot when Temporal is away."""

from __future__ import annotations
