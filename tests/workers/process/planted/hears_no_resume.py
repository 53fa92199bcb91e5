"""Mistake: a workflow that makes guarded calls by itself and takes no signal `resume`."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.patterns.guarded_calls import GuardedCalls


@workflow.defn
class HeldForEverWorkflow:
    def __init__(self) -> None:
        self.calls = GuardedCalls(60)

    @workflow.run
    async def run(self) -> None: ...
