"""What transactions bring to workers."""

from __future__ import annotations

from workers.patterns.transactions.activities import run_transaction
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("transactions")
plugin.add(PLATFORM, activities=[run_transaction])
