"""Mistake: a definition that tells its versioning behaviour also to a server that refuses it."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import VersioningBehavior


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class StubbornWorkflow:
    @workflow.run
    async def run(self) -> None: ...
