"""Mistake: a workflow that reads the clock of Django."""

from __future__ import annotations

from django.utils import timezone
from temporalio import workflow


@workflow.defn
class LateWorkflow:
    @workflow.run
    async def run(self) -> str:
        return str(timezone.now())
