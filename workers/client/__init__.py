"""How this project reaches Temporal: connection, errors, search attributes, query text, launch, tenants."""

from __future__ import annotations
