"""What a workflow class leaves out of a pattern's handlers is found, with the line to add."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.common import RawValue

from orders.workflows.order import OrderWorkflow
from workers.contracts import ApprovalPolicy
from workers.patterns.approval.approval import Approval
from workers.patterns.approval.handlers import ApprovalHandlers
from workers.patterns.approval.workflow import ApprovalWorkflow
from workers.patterns.decisions import NO_BODY, DecisionHandlers, lenient_signal
from workers.patterns.guarded_calls import GuardedCalls
from workers.patterns.handlers import HoldHandlers, handler_problems
from workers.patterns.saga.handlers import SagaHandlers
from workers.patterns.saga.saga import Saga
from workers.patterns.saga.workflow import SagaWorkflow
from workers.registry.registry import registry


class Mixin:
    """Ends the chain of `__init__`."""

    def __init__(self) -> None:
        self.seats = 2


@workflow.defn
class Decides(DecisionHandlers):
    def __init__(self) -> None:
        self.rooms = 0

    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class Mixed(Mixin, SagaHandlers):
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class Votes(ApprovalHandlers):
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class MakesGuardedCalls:
    def __init__(self) -> None:
        self.calls = GuardedCalls(60)

    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class MakesASaga(HoldHandlers):
    def __init__(self) -> None:
        super().__init__(timedelta(seconds=60))
        self.saga = Saga(self.calls, self.show)

    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class MakesAnApproval:
    def __init__(self) -> None:
        self.approval = Approval(ApprovalPolicy())

    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class WiredByHand:
    """All that guarded calls need."""

    def __init__(self) -> None:
        self.calls = GuardedCalls(60)

    @workflow.signal
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.calls.resume(raw)

    @workflow.run
    async def run(self) -> None: ...


class Middle(SagaHandlers):
    def __init__(self) -> None:
        super().__init__(subject="It")


@workflow.defn
class Inherits(Middle):
    @workflow.run
    async def run(self) -> None: ...


@pytest.mark.parametrize(
    ("cls", "what", "fix"),
    [
        (Decides, "Decides.__init__ leaves out that of its base class.", "super().__init__(...)"),
        (Mixed, "Mixin.__init__ leaves out that of its base class.", "super().__init__(...)"),
        (Votes, "takes votes but has no approval to count them.", "self.approval = Approval(policy, ...)"),
        (
            MakesGuardedCalls,
            "makes its own GuardedCalls, but does not answer resume.",
            "class MakesGuardedCalls(HoldHandlers):",
        ),
        (
            MakesASaga,
            "makes its own Saga, but does not answer cancel, get_saga_status, resolve_compensation.",
            "class MakesASaga(SagaHandlers):",
        ),
        (
            MakesAnApproval,
            "does not answer approve, get_approval_status, get_decision, reject.",
            "class MakesAnApproval(ApprovalHandlers):",
        ),
    ],
)
def test_what_is_left_out_is_found_with_the_line_to_add(cls: type, what: str, fix: str) -> None:
    [problem] = handler_problems(cls)
    assert what in problem.what
    assert fix in problem.fix
    assert "test_handlers.py:" in problem.where
    assert not problem.warning


@pytest.mark.parametrize("cls", [WiredByHand, Inherits, OrderWorkflow, SagaWorkflow, ApprovalWorkflow])
def test_what_is_whole_has_no_problems(cls: type[Any]) -> None:
    assert [*handler_problems(cls)] == []


def test_registered_workflows_are_looked_at() -> None:
    registry.load()
    registry.add("half-queue", workflows=[MakesGuardedCalls])
    try:
        assert any("makes its own GuardedCalls" in problem.what for problem in registry.problems())
    finally:
        del registry.queues["half-queue"]
