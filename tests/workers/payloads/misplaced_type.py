"""A workflow file with a payload type in it, which the sandbox would declare anew for every run."""

from __future__ import annotations

from enum import Enum

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.payloads.tags import payload_type


@payload_type
class Misplaced(Enum):
    """Another class for every run."""

    ONE = 1


@workflow.defn
class MisplacedWorkflow:
    """Never gets to run."""

    @workflow.run
    async def run(self) -> None:
        return
