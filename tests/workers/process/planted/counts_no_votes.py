"""Mistake: a workflow that takes votes and has no approval."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.patterns.approval.handlers import ApprovalHandlers


@workflow.defn
class UncountedWorkflow(ApprovalHandlers):
    @workflow.run
    async def run(self) -> None: ...
