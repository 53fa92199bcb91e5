"""Mistake: a workflow whose name another one has."""

from __future__ import annotations

from temporalio import workflow


@workflow.defn(name="Napping")
class AnotherNap:
    @workflow.run
    async def run(self) -> None: ...
