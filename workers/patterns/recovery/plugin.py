"""What recoveries bring to workers."""

from __future__ import annotations

from workers.patterns.recovery.workflow import RecoveryWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("recovery")
plugin.add(PLATFORM, workflows=[RecoveryWorkflow])
