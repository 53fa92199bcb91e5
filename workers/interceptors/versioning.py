"""A run that continues as new begins on the deployment's current build, pinned or not.

It replays nothing of the run before, so it need not stay on a build that would otherwise have to be kept as
long as the workflow lives. Servers before 1.31, and those without worker deployments, ignore it: register
workflows that continue as new as entities too.
"""

from __future__ import annotations

from typing import NoReturn

from temporalio.worker import (
    ContinueAsNewInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ContinueAsNewVersioningBehavior


class VersioningInterceptor(Interceptor):
    """Adds AUTO_UPGRADE to each continue-as-new that names no behaviour of its own."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        if input.initial_versioning_behavior is None:
            input.initial_versioning_behavior = ContinueAsNewVersioningBehavior.AUTO_UPGRADE
        super().continue_as_new(input)
