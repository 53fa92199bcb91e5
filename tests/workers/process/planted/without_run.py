"""Mistake: a workflow without a run method."""

from __future__ import annotations

from temporalio import workflow


@workflow.defn
class IdleWorkflow:
    async def start(self) -> None: ...
