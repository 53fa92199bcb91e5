"""Orders on a real server against the real sandbox: the ledger is the witness."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orders.activities import ALL, validate_order
from orders.conf import APPROVAL_ABOVE
from orders.messages import QUEUE, WORKFLOW_TYPE, OrderInput, OrderRules, Stage
from orders.services import UnknownCurrency, rules_for
from orders.validation import NewOrder
from tests.orders.conftest import Sandbox
from tests.orders.samples import body, new_order
from tests.support import end, eventually
from workers.client.launch import launch
from workers.contracts import Decision, Signal
from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.names import QUEUE as BREAKER_QUEUE
from workers.patterns.breaker.names import breaker_id, dependency_of
from workers.patterns.breaker.plugin import breakers


def test_the_activities_have_their_names_and_breakers():
    names = {activity._Definition.must_from_callable(fn).name: dependency_of(fn) for fn in ALL}
    assert {name: guard for name, guard in names.items() if guard} == {
        "charge_payment": "payments",
        "book_freight": "freight",
    }
    assert set(names) >= {
        "validate_order",
        "reserve_stock",
        "release_stock",
        "refund_payment",
        "cancel_freight",
    }


def test_a_valid_order_passes():
    assert ActivityEnvironment().run(validate_order, OrderInput.model_validate(body())).total_minor == 9800


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"total_minor": 9801}, "total_minor"),
        ({"total_minor": -9800}, "total_minor"),
        ({"lines": [], "total_minor": 0}, "lines"),
        ({"lines": [{"sku": "A", "quantity": -2, "unit_minor": -4900}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "A", "quantity": 1, "unit_minor": 1}] * 501, "total_minor": 501}, "lines"),
        ({"customer_name": "x" * 201}, "customer_name"),
        ({"customer_name": "two\nlines"}, "customer_name"),
        ({"currency": "euro"}, "currency"),
        ({"order_id": "a~b"}, "order_id"),
    ],
)
def test_an_invalid_order_is_refused_by_field(changes: dict[str, Any], field: str):
    with pytest.raises(ApplicationError) as caught:
        ActivityEnvironment().run(validate_order, OrderInput.model_validate(body(**changes)))
    assert (caught.value.type, caught.value.non_retryable) == ("InvalidOrder", True)
    assert field in caught.value.details[0]


async def start(new: NewOrder, client: Client, **rules: Any) -> WorkflowHandle[Any, Any]:
    """As place_order does, without the row."""
    order = OrderInput(**new.model_dump(), requester="vera", rules=OrderRules(**rules))
    return await launch(WORKFLOW_TYPE, order, client=client)


async def test_a_delivered_order_balances(client: Client, worker: Any, sandbox: Sandbox):
    new = new_order()
    async with worker(QUEUE):
        result = await (await start(new, client)).result()
    assert result["stage"] == Stage.DELIVERED
    ledger = sandbox.ledger(new.order_id)
    assert ledger["orders"][new.order_id] == {
        "standing": {"stock": 1, "payments": 1, "carrier": 1},
        "balanced": True,
    }
    assert [row["service"] for row in ledger["effects"]].count("notifications") == 2


async def test_a_declined_card_gives_the_goods_back(client: Client, worker: Any, sandbox: Sandbox):
    new = new_order(customer_id="declined-1")
    async with worker(QUEUE):
        result = await (await start(new, client)).result()
    assert result["stage"] == Stage.DECLINED
    order = sandbox.ledger(new.order_id)["orders"][new.order_id]
    assert order["balanced"]
    assert order["standing"]["stock"] == 0


async def test_a_charge_that_timed_out_after_it_happened_is_undone_exactly_once(
    client: Client, worker: Any, sandbox: Sandbox
):
    sandbox.fault("payments", "accept_then_timeout")
    new = new_order()
    async with worker(QUEUE):
        handle = await start(new, client)
        await eventually(lambda: sandbox.ledger(new.order_id)["sums"])
        decision = Decision(decision_id="d1", actor="otto", roles=["operator"], reason="Changed my mind")
        await handle.signal(Signal.CANCEL, decision)
        await handle.signal(Signal.CANCEL, decision)
        result = await handle.result()
    assert result["stage"] == Stage.CANCELLED
    ledger = sandbox.ledger(new.order_id)
    assert ledger["orders"][new.order_id]["balanced"]
    assert ledger["sums"] == [
        {"currency": "EUR", "charged": 9800, "refunded": 9800, "standing": 0, "charges": 1}
    ]
    assert [(row["service"], row["undid"]) for row in ledger["undos"]].count(("payments", 1)) == 1


@pytest.mark.timeout(150)
async def test_broken_payments_hold_orders_until_they_are_healed(
    client: Client, worker: Any, sandbox: Sandbox, monkeypatch: Any
):
    quick = BreakerConfig(dependency="payments", threshold=2, open_seconds=1)
    monkeypatch.setitem(breakers.configs, "payments", quick)
    sandbox.fault("payments", "outage")
    # Other tests leave runs that look held and have no worker: each would cost a probe's time.
    await end(client, "ExecutionStatus = 'Running' AND WaitingFor = 'breaker:payments'")
    await end(client, "ExecutionStatus = 'Running' AND WorkflowType = 'BreakerWorkflow'")
    await breakers.prepare(client)
    orders = [new_order() for _ in range(3)]
    held = "ExecutionStatus = 'Running' AND WaitingFor = 'breaker:payments' AND WorkflowId = 'order-{}'"

    async def all_held() -> bool:
        counts = [(await client.count_workflows(held.format(new.order_id))).count for new in orders]
        return all(counts)

    async with worker(QUEUE, BREAKER_QUEUE):
        handles = [await start(new, client, held_retry_seconds=600) for new in orders]
        await eventually(all_held, timeout=60, every=0.2)
        sandbox.fault("payments")
        results = await asyncio.wait_for(asyncio.gather(*(handle.result() for handle in handles)), 60)
    assert {result["stage"] for result in results} == {Stage.DELIVERED}
    assert all(sandbox.ledger(new.order_id)["balanced"] for new in orders)
    for dependency in breakers.configs:
        await client.get_workflow_handle(breaker_id(dependency)).terminate()


@pytest.mark.slow
async def test_a_killed_worker_loses_nothing(client: Client, sandbox: Sandbox, tmp_path: Any):
    """SIGKILL a real worker process amid a dozen orders; another finishes them, and all sums match."""
    sandbox.fault("payments", "latency", latency_ms=300)
    environment = {
        **os.environ,
        "SANDBOX_URL": sandbox.url,
        "SIGNALBOX_STATE_DIR": str(tmp_path),
        "GATEWAY_TIMEOUT": "2",
        "WORKER_ACTIVITY_THREADS": "4",
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }

    async def runworker() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "manage.py", "runworker", env=environment, stdout=asyncio.subprocess.DEVNULL
        )

    orders = [new_order() for _ in range(12)]
    first = await runworker()
    handles = [await start(new, client, step_seconds=3) for new in orders]
    try:
        await eventually(lambda: any(sandbox.ledger(new.order_id)["sums"] for new in orders), timeout=40)
    finally:
        first.send_signal(signal.SIGKILL)
        await first.wait()
    done = [handle for handle in handles if (await handle.describe()).close_time]
    assert len(done) < len(orders)
    second = await runworker()
    try:
        results = await asyncio.wait_for(asyncio.gather(*(handle.result() for handle in handles)), 90)
    finally:
        second.terminate()
        await second.wait()
    assert {result["stage"] for result in results} == {Stage.DELIVERED}
    for new in orders:
        ledger = sandbox.ledger(new.order_id)
        assert ledger["balanced"]
        assert [(row["charges"], row["standing"]) for row in ledger["sums"]] == [(1, new.total_minor)]


@pytest.mark.parametrize("currency", sorted(APPROVAL_ABOVE))
def test_rules_follow_the_amount_in_its_own_currency(currency: str):
    limit = APPROVAL_ABOVE[currency]
    assert rules_for(limit, currency).approval is None
    for total in (limit + 1, 10 * limit):
        one = rules_for(total, currency).approval
        assert one is not None
        assert (one.quorum, one.roles, one.self_approval) == (1, ["approver"], True)
    two = rules_for(10 * limit + 1, currency).approval
    assert two is not None
    assert (two.quorum, two.roles, two.self_approval) == (2, ["approver"], False)


def test_the_same_number_means_another_amount_in_another_currency():
    assert rules_for(120_000, "EUR").approval is not None
    assert rules_for(120_000, "JPY").approval is None
    assert rules_for(120_000, "KWD").approval is None


def test_limits_come_from_the_settings(settings: Any):
    settings.ORDERS = settings.ORDERS.model_copy(update={"approval_above": {"EUR": 5}})
    assert rules_for(5, "EUR").approval is None
    assert rules_for(6, "EUR").approval is not None
    with pytest.raises(UnknownCurrency, match="Orders in USD cannot be placed; these currencies can: EUR"):
        rules_for(6, "USD")
