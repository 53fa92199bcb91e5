"""What keeps pages current: shared reads, and the last snapshot when Temporal is unreachable."""

from __future__ import annotations
