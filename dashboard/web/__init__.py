"""What every request passes: middleware, login and permission, error pages, probes."""

from __future__ import annotations
