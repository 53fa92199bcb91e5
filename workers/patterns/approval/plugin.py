"""What approvals bring to workers."""

from __future__ import annotations

from workers.patterns.approval.workflow import ApprovalWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import PLATFORM

plugin = Plugin("approval")
plugin.add(PLATFORM, entities=[ApprovalWorkflow])
