"""Mistake: a workflow whose file reads another file when it is imported."""

from __future__ import annotations

from pathlib import Path

from temporalio import workflow

if workflow.unsafe.in_sandbox():
    Path("rates.json").read_text()


@workflow.defn
class ReadingWorkflow:
    @workflow.run
    async def run(self) -> None: ...
