"""The demo's orders: every condition on the first page, and nothing new the second time."""

from __future__ import annotations

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from temporalio.client import Client

from orders import demo
from orders.messages import QUEUE
from orders.models import Order
from tests.orders.conftest import Sandbox
from tests.support import end, eventually
from workers.patterns.breaker.names import QUEUE as BREAKER_QUEUE
from workers.patterns.breaker.plugin import breakers

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = {
    "completed": "ExecutionStatus = 'Completed' AND SagaState = 'completed'",
    "waiting": "ExecutionStatus = 'Running' AND WaitingFor = 'approval'",
    "held": "ExecutionStatus = 'Running' AND WaitingFor = 'breaker:freight'",
    "stuck": "ExecutionStatus = 'Running' AND SagaState = 'stuck'",
    "moving": "ExecutionStatus = 'Running' AND Stage = 'shipping' AND WaitingFor IS NULL",
    "declined": "Stage = 'declined'",
    "rejected": "Stage = 'rejected'",
    "cancelled": "Stage = 'cancelled'",
    "expired": "Stage = 'expired'",
    "failed": "ExecutionStatus = 'Failed'",
    "terminated": "ExecutionStatus = 'Terminated'",
}


@pytest.mark.timeout(120)
async def test_the_demo_has_every_condition_and_is_made_once(
    client: Client, worker: Any, sandbox: Sandbox, settings: Any, monkeypatch: Any
):
    async def no_check(_: Client) -> None:
        """Other tests leave workflows of other types on the same server."""

    monkeypatch.setattr(demo, "_refuse_foreign", no_check)
    await breakers.prepare(client)
    async with worker(QUEUE, BREAKER_QUEUE):
        said = await demo.seed()
        assert said.startswith("Placed 39 demo orders")

        async def seen() -> bool:
            counts = {
                name: (
                    await client.count_workflows(f"WorkflowId STARTS_WITH 'order-demo-' AND {query}")
                ).count
                for name, query in WANTED.items()
            }
            return all(counts.values())

        await eventually(seen, timeout=40, every=0.5)
        rows = await Order.objects.acount()
        assert "there already" in await demo.seed()
        assert await Order.objects.acount() == rows
    assert sandbox.http.get("/faults").json()["freight"]["mode"] == "outage"
    await end(client, "ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH 'order-demo-'")
    await end(client, "ExecutionStatus = 'Running' AND WorkflowType = 'BreakerWorkflow'")


async def test_a_namespace_with_foreign_workflows_is_refused(client: Client):
    await client.start_workflow("SomebodysWorkflow", id=uuid.uuid4().hex, task_queue="nobody")

    async def refused() -> bool:
        try:
            await demo._refuse_foreign(client)
        except demo.SeedRefused as error:
            return "are not the demo's" in str(error)
        return False

    await eventually(refused)


def test_the_plots_make_valid_orders_that_differ():
    orders = [demo._order(plot, number) for plot in demo.PLOTS for number in range(plot.count)]
    assert len({order.order_id for order in orders}) == len(orders)
    assert [demo._order(plot, number) for plot in demo.PLOTS for number in range(plot.count)] == orders


def test_faults_are_shown_and_set(sandbox: Sandbox):
    out = StringIO()
    call_command("faults", "payments", "errors", "--rate", "0.5", "--order-prefix", "x-", stdout=out)
    assert "errors, 50% of calls, orders x-..." in out.getvalue()
    assert sandbox.http.get("/faults").json()["payments"]["mode"] == "errors"
    with pytest.raises(CommandError, match="Refused"):
        call_command("faults", "payments", "errors", "--rate", "7")
    with pytest.raises(CommandError, match="mode too"):
        call_command("faults", "payments")


def test_commands_without_a_sandbox_say_so(settings: Any):
    settings.ORDERS = settings.ORDERS.model_copy(update={"sandbox_url": "http://127.0.0.1:9"})
    with pytest.raises(CommandError, match=r"does not answer at http://127\.0\.0\.1:9"):
        call_command("faults")
