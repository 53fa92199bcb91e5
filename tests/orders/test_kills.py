"""Workers are killed at every point of a saga, an approval and a breaker's cycle; nothing is lost or doubled.

A real `manage.py runworker` gets SIGKILL and another one is started. The sandbox's ledger is the witness for
effects, the workflow's own answers for decisions.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from orders.messages import WORKFLOW_TYPE, OrderInput, OrderRules, Stage
from tests.orders.conftest import Sandbox
from tests.orders.samples import new_order
from tests.support import eventually
from workers.client.attributes import CIRCUIT_STATE, DEADLINE, WAITING_FOR
from workers.client.launch import launch
from workers.contracts import ApprovalPolicy, CircuitState, CircuitStatus, Decision, Outcome, Verdict
from workers.patterns.approval.messages import ApprovalRequest, ApprovalResult
from workers.patterns.approval.workflow import ApprovalWorkflow
from workers.patterns.breaker.names import breaker_id
from workers.patterns.breaker.plugin import breakers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parent.parent.parent
TWO = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False)

Handle = WorkflowHandle[Any, Any]


class Workers:
    """One worker process at a time. `kill` gives it no chance; `start` brings the next one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self.kills = 0

    async def start(self) -> None:
        assert self._process is None
        command = (sys.executable, str(ROOT / "manage.py"), "runworker")
        self._process = await asyncio.create_subprocess_exec(
            *command, env=self._environment, stdout=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        assert self._process is not None
        assert self._process.returncode is None, "it must not have ended by itself"
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        self._process, self.kills = None, self.kills + 1

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()


@pytest.fixture
async def workers(client: Client, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Workers]:
    made = Workers(
        {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "SANDBOX_URL": sandbox.url,
            "SIGNALBOX_STATE_DIR": str(tmp_path / "state"),
            "GATEWAY_TIMEOUT": "1",
            "BREAKER_THRESHOLD": "2",
            "BREAKER_OPEN_SECONDS": "2",
            "WORKER_DRAIN_SECONDS": "0",
        }
    )
    yield made
    await made.stop()
    for dependency in breakers.configs:
        try:
            await client.get_workflow_handle(breaker_id(dependency)).terminate()
        except RPCError:  # it never began
            continue


async def order(client: Client, customer: str, **rules: Any) -> tuple[str, Handle]:
    new = new_order(customer_id=customer)
    given = OrderInput(**new.model_dump(), requester="vera", rules=OrderRules(step_seconds=2, **rules))
    return new.order_id, await launch(WORKFLOW_TYPE, given, id=f"order-{new.order_id}", client=client)


async def reaches(handle: Handle, events: int) -> bool:
    """Until its history is that long; False when it has ended."""

    async def there() -> bool:
        shown = await handle.describe()
        return shown.history_length >= events or shown.status is not WorkflowExecutionStatus.RUNNING

    await eventually(there, timeout=60, every=0.01)
    return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING


async def results(handles: list[Handle]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*(handle.result() for handle in handles)), 180)


def points(events: int, count: int) -> list[int]:
    """That many places in a history of so many events, from its first to its last."""
    return [2 + round(number * (events - 4) / (count - 1)) for number in range(count)]


def told(ledger: dict[str, Any], service: str) -> list[tuple[str, int]]:
    """State and amount of each effect of a service."""
    return [(row["state"], row["amount_minor"]) for row in ledger["effects"] if row["service"] == service]


async def test_killing_workers_at_every_point_of_a_saga(
    client: Client, sandbox: Sandbox, workers: Workers
) -> None:
    for service in ("stock", "payments", "carrier"):
        sandbox.fault(service, "latency", latency_ms=100)
    await workers.start()
    _, undisturbed = await order(client, "customer-1")
    _, refused = await order(client, "nowhere-1")
    await results([undisturbed, refused])
    lengths = {"customer-1": undisturbed, "nowhere-1": refused}
    plan = [
        (customer, point)
        for customer, handle in lengths.items()
        for point in points((await handle.describe()).history_length, 6)
    ]
    orders, amid = [], 0
    for customer, point in plan:
        placed = await order(client, customer)
        orders.append((customer, *placed))
        amid += await reaches(placed[1], point)
        await workers.kill()
        await workers.start()
    ended = await results([handle for _, _, handle in orders])
    assert amid >= len(plan) - 4, "most kills hit an order on its way"
    for (customer, order_id, _), result in zip(orders, ended, strict=True):
        ledger = sandbox.ledger(order_id)
        assert ledger["balanced"], order_id
        delivered = customer == "customer-1"
        assert result["stage"] == (Stage.DELIVERED if delivered else Stage.DECLINED)
        assert told(ledger, "payments") == [("done" if delivered else "undone", 9800)]
        assert len(told(ledger, "stock")) == 1
        assert len(told(ledger, "notifications")) == (2 if delivered else 0)
        undone = sorted(row["service"] for row in ledger["undos"] if row["undid"])
        assert undone == ([] if delivered else ["payments", "stock"])


class Asked:
    """An approval that wants two votes, and the two votes."""

    def __init__(self, handle: WorkflowHandle[Any, ApprovalResult]) -> None:
        self.handle = handle
        self.ann, self.bob = (
            Decision(decision_id=uuid.uuid4().hex, actor=actor, roles=["approver"])
            for actor in ("ann", "bob")
        )

    async def vote(self, *votes: Decision) -> None:
        for vote in votes:
            await self.handle.signal("approve", vote)

    async def verdict(self, vote: Decision) -> Verdict:
        answer: Verdict = await self.handle.query("get_decision", vote.decision_id, result_type=Verdict)
        return answer


async def ask(client: Client, seconds: float = 600, policy: ApprovalPolicy = TWO) -> Asked:
    request = ApprovalRequest(subject="Payout", requester="riley", policy=policy, seconds=seconds)
    return Asked(
        await launch(ApprovalWorkflow, request, id=f"approval-{uuid.uuid4().hex}", client=client),
    )


async def test_killing_workers_at_every_point_of_an_approval(client: Client, workers: Workers) -> None:
    """Before and after the votes were heard, amid the quorum, and with a vote sent while nobody runs."""
    approvals: list[Asked] = []
    await workers.start()
    for point in range(1, 12):
        asked = await ask(client)
        approvals.append(asked)
        alone = point % 2 == 0  # then the second vote comes while no worker runs
        await asked.vote(*([asked.ann] if alone else [asked.ann, asked.bob]))
        await reaches(asked.handle, min(point, 6) if alone else point)  # it waits there
        await workers.kill()
        if alone:
            await asked.vote(asked.bob, asked.ann)
        await workers.start()
    ended: list[ApprovalResult] = await results([asked.handle for asked in approvals])
    for asked, result in zip(approvals, ended, strict=True):
        said = [await asked.verdict(vote) for vote in (asked.ann, asked.bob)]
        result = ApprovalResult.model_validate(result)
        assert (result.approved, result.decided_by) == (True, ["ann", "bob"])
        assert [vote.actor for vote in result.votes] == ["ann", "bob"]
        assert {each.outcome for each in said} == {Outcome.APPLIED}


async def due(asked: Asked) -> datetime | None:
    """Its deadline, as soon as a worker has begun with it."""
    return (await asked.handle.describe()).typed_search_attributes.get(DEADLINE)


async def test_killing_workers_over_the_deadline_of_an_approval(client: Client, workers: Workers) -> None:
    for seconds in (4, 20, 60):  # a machine may be slow to start a worker
        await workers.start()
        timely, late = [await ask(client, seconds, ApprovalPolicy()) for _ in range(2)]

        deadlines = [await eventually(partial(due, asked), timeout=60) for asked in (timely, late)]
        await workers.kill()
        if datetime.now(UTC) < min(deadlines):
            break
    enough = max(deadlines) + timedelta(seconds=0.5)
    await eventually(lambda: datetime.now(UTC) > enough, timeout=90)
    timely.ann.at = deadlines[0] - timedelta(seconds=0.1)
    late.ann.at = deadlines[1] + timedelta(seconds=0.1)
    for asked in (timely, late):
        await asked.vote(asked.ann)
    await workers.start()
    ended = [ApprovalResult.model_validate(each) for each in await results([timely.handle, late.handle])]
    assert [result.state for result in ended] == ["approved", "expired"]
    assert (await late.verdict(late.ann)).outcome == Outcome.REFUSED


async def test_killing_workers_amid_a_breakers_cycle(
    client: Client, sandbox: Sandbox, workers: Workers
) -> None:
    """While it is OPEN, while a probe is under way, and while what was held is released."""
    shared = client.get_workflow_handle(breaker_id("payments"))

    async def shows(state: CircuitState) -> bool:
        try:
            return (await shared.describe()).typed_search_attributes.get(CIRCUIT_STATE) == state
        except RPCError:
            return False

    async def probing() -> bool:
        try:
            status = await shared.query(
                "get_circuit_status", result_type=CircuitStatus, rpc_timeout=timedelta(seconds=5)
            )
        except RPCError:
            return False
        return status.state == CircuitState.HALF_OPEN and bool(status.probe_holder)

    sandbox.fault("payments", "outage")
    await workers.start()
    # none goes on by itself: whoever is held has to be released
    orders = [await order(client, "customer-1", held_retry_seconds=600) for _ in range(8)]

    async def all_held() -> bool:
        shown = [await handle.describe() for _, handle in orders]
        return all(
            each.typed_search_attributes.get(WAITING_FOR) == ["breaker", "breaker:payments"] for each in shown
        )

    await eventually(all_held, timeout=60)
    assert await shows(CircuitState.OPEN) or await shows(CircuitState.HALF_OPEN)
    sandbox.fault("payments", "latency", latency_ms=3_000)  # longer than a try takes, so probes are seen
    await workers.kill()
    await workers.start()
    await eventually(probing, timeout=90)
    await workers.kill()
    sandbox.fault("payments")
    await workers.start()
    await eventually(lambda: shows(CircuitState.CLOSED), timeout=90, every=0.01)
    await workers.kill()
    shown = [await handle.describe() for _, handle in orders]
    assert [each for each in shown if each.close_time is None], "it was releasing them"
    await workers.start()
    ended = await results([handle for _, handle in orders])
    assert {result["stage"] for result in ended} == {Stage.DELIVERED}
    for order_id, _ in orders:
        ledger = sandbox.ledger(order_id)
        assert ledger["balanced"], order_id
        assert told(ledger, "payments") == [("done", 9800)]
    assert workers.kills == 3
