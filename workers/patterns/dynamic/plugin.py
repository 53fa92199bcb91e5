"""What the choice of activities at run time brings to workers."""

from __future__ import annotations

from workers.patterns.dynamic.activities import refuse_unknown, resolve_activities, resolve_flags
from workers.patterns.dynamic.workflow import DynamicWorkflow, NamedByTypeWorkflow
from workers.registry.plugins import Plugin
from workers.registry.queues import DYNAMIC

plugin = Plugin("dynamic")
plugin.add(DYNAMIC, workflows=[DynamicWorkflow, NamedByTypeWorkflow], activities=[refuse_unknown])
# On every queue: every run may ask, and must not wait behind the work of another queue.
for resolve in (resolve_activities, resolve_flags):
    plugin.everywhere(resolve)
