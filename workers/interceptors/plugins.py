"""Within the workflows of a plugin, the short names of its activities and workflows mean its own.

So a plugin is plain temporalio code: `workflow.execute_activity(send, ...)` in a workflow of the plugin
`mailer` calls `mailer.send`. Names that the plugin does not have stay as they are. A local activity
is called by its full name: the SDK looks for it before it asks any interceptor.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from workers.registry.plugins import plugin_of


class PluginInterceptor(Interceptor):
    """Translates what workflows of plugins call."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        plugin = plugin_of(workflow.info().workflow_type)
        if plugin:
            input.activity = plugin.activities.get(input.activity, input.activity)
        return super().start_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        plugin = plugin_of(workflow.info().workflow_type)
        if plugin:
            input.workflow = plugin.workflows.get(input.workflow, input.workflow)
        return await super().start_child_workflow(input)
