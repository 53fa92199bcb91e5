"""What runs where: registration, plugins, definitions, flags, inspection."""

from __future__ import annotations
