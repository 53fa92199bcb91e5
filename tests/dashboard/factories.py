"""Runs as a test wants them: with attributes, a memo, and canned answers to the queries of the contracts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from workers.client import attributes as keys
from workers.client.attributes import TENANT_ID
from workers.contracts import WaitingFor


@workflow.defn(name="CannedAnswers")
class CannedAnswers:
    """Answers each query with what it was given under its name; waits until it is told to go."""

    @workflow.init
    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.done = False

    @workflow.run
    async def run(self, answers: dict[str, Any]) -> None:
        await workflow.wait_condition(lambda: self.done)

    @workflow.signal
    def go(self) -> None:
        self.done = True

    @workflow.query
    def get_circuit_status(self) -> Any:
        return self.answers["circuit"]

    @workflow.query
    def get_approval_status(self) -> Any:
        return self.answers["approval"]

    @workflow.query
    def get_saga_status(self) -> Any:
        return self.answers["saga"]


def waits(value: str) -> list[str]:
    """`approval` or `breaker:payments` as workflows write it."""
    return [WaitingFor.BREAKER, value] if value.startswith("breaker:") else [value]


async def start_run(
    client: Client,
    queue: str,
    workflow_id: str,
    *,
    answers: dict[str, Any] | None = None,
    tenant: str = "default",
    workflow_type: str = "CannedAnswers",
    memo: dict[str, Any] | None = None,
    deadline: datetime | None = None,
    extra: tuple[SearchAttributePair[Any], ...] = (),
    **attributes: str,
) -> WorkflowHandle[Any, Any]:
    """Start one; `attributes` are platform attributes by the name of their constant, such as waiting_for."""
    pairs = [
        SearchAttributePair(getattr(keys, name.upper()), waits(value) if name == "waiting_for" else value)
        for name, value in attributes.items()
    ]
    pairs += [SearchAttributePair(TENANT_ID, tenant), *extra]
    if deadline:
        pairs.append(SearchAttributePair(keys.DEADLINE, deadline))
    return await client.start_workflow(
        workflow_type,
        answers or {},
        id=workflow_id,
        task_queue=queue,
        memo=memo,
        search_attributes=TypedSearchAttributes(pairs),
        execution_timeout=timedelta(minutes=5),
    )
