"""A continue-as-new asks for the current build, unless the workflow asks for something itself.

Seen in the command that leaves the worker, as the dev server's release does not act on it yet.
"""

from __future__ import annotations

import uuid

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import (
    ContinueAsNewInput,
    Interceptor,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ContinueAsNewVersioningBehavior as Behaviour

from workers.interceptors.versioning import VersioningInterceptor

SENT: list[Behaviour | None] = []


@workflow.defn(name="Renewed", sandboxed=False)
class RenewedWorkflow:
    @workflow.run
    async def run(self, own: int | None) -> None:
        if workflow.info().continued_run_id is None:
            behaviour = None if own is None else Behaviour(own)
            workflow.continue_as_new(own, initial_versioning_behavior=behaviour)


class Watching(Interceptor):
    """The innermost interceptor."""

    def workflow_interceptor_class(self, input):
        return Inbound


class Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))


class Outbound(WorkflowOutboundInterceptor):
    def continue_as_new(self, input: ContinueAsNewInput):
        SENT.append(input.initial_versioning_behavior)
        super().continue_as_new(input)


@pytest.mark.parametrize(
    ("own", "sent"),
    [(None, Behaviour.AUTO_UPGRADE), (Behaviour.UNSPECIFIED, Behaviour.UNSPECIFIED)],
)
async def test_a_run_continues_on_the_current_build(
    client: Client, queue: str, own: Behaviour | None, sent: Behaviour
):
    SENT.clear()
    async with Worker(
        client,
        task_queue=queue,
        workflows=[RenewedWorkflow],
        interceptors=[Watching(), VersioningInterceptor()],  # the inner outbound is called last
    ):
        await client.execute_workflow(
            RenewedWorkflow.run, own, id=f"renewed-{uuid.uuid4().hex}", task_queue=queue
        )
    assert [sent] == SENT
