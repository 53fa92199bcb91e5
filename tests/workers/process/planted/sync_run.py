"""Mistake: a run method that is not async."""

from __future__ import annotations

from temporalio import workflow


@workflow.defn
class HastyWorkflow:
    @workflow.run  # type: ignore[type-var]
    def run(self) -> None: ...
