"""Mistake: a saga whose __init__ leaves out that of its base class, so that nothing of it is there."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.patterns.saga.handlers import SagaHandlers


@workflow.defn
class ForgetfulWorkflow(SagaHandlers):
    def __init__(self) -> None:
        self.rooms = 0

    @workflow.run
    async def run(self) -> None: ...
