"""What `make up` needs: the supervisor of all processes, and demo users. Nothing imports it."""

from __future__ import annotations
