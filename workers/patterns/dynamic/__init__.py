"""Activities and workflows chosen by name at run time."""

from __future__ import annotations
