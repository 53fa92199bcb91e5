"""Histories that were recorded by an earlier build replay, so orders that are under way survive a deploy.

`RECORD_HISTORIES=1` writes those in tests/histories anew: only after a change that no running order survives.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from orders.messages import WORKFLOW_TYPE
from orders.workflows.order import OrderWorkflow
from tests.golden import replayer, scrubbed
from tests.orders.fake_gateways import FakeGateways, an_order
from tests.support import eventually
from workers.client.attributes import SAGA_STATE, WAITING_FOR
from workers.contracts import ApprovalPolicy, Decision
from workers.patterns.alerts.activities import raise_alert
from workers.patterns.breaker import names as breaker
from workers.patterns.breaker.activities import find_held, offer_probe, release_held
from workers.patterns.breaker.config import Report
from workers.patterns.breaker.messages import BreakerState
from workers.patterns.breaker.names import breaker_id
from workers.patterns.breaker.workflow import BreakerWorkflow

FOLDER = Path(__file__).parent.parent / "histories"
WORKFLOWS = [OrderWorkflow, BreakerWorkflow]

Handle = WorkflowHandle[Any, Any]


class Play:
    """A world, a breaker of its own, and the order that is played."""

    def __init__(self, client: Client, world: FakeGateways, dependency: str, order: Handle) -> None:
        self.world, self.dependency, self.order = world, dependency, order
        self.breaker = client.get_workflow_handle(breaker_id(dependency))

    async def until(self, key: Any, value: Any) -> None:
        async def there() -> bool:
            return bool((await self.order.describe()).typed_search_attributes.get(key) == value)

        await eventually(there, timeout=20)

    async def say(self, signal: str, actor: str, **more: Any) -> None:
        body = Decision(decision_id=uuid.uuid4().hex, actor=actor, reason="Golden.", **more)
        await self.order.signal(signal, body)


async def delivered(play: Play) -> None:
    await play.until(WAITING_FOR, ["approval"])
    await play.order.signal("approve")
    await play.say("approve", "ann")
    await play.say("approve", "bob")


async def stuck(play: Play) -> None:
    play.world.down("release_stock")
    await play.until(WAITING_FOR, ["approval"])
    await play.say("cancel", "ann")
    await play.until(SAGA_STATE, "stuck")
    play.world.heal("release_stock")
    await play.say("resolve_compensation", "op", choice="retry")


async def expired(play: Play) -> None:
    """Nobody does anything."""


async def held(play: Play) -> None:
    await play.until(WAITING_FOR, ["approval"])
    await play.breaker.signal("report", Report(process="p", seq=1, calls=5, failures=5, tail=5))
    await play.say("approve", "ann")


PLAYS: dict[str, tuple[Callable[[Play], Awaitable[None]], dict[str, Any]]] = {
    "delivered": (delivered, {"approval": ApprovalPolicy(quorum=2)}),
    "stuck": (stuck, {"approval": ApprovalPolicy()}),
    "expired": (expired, {"approval": ApprovalPolicy(), "approval_seconds": 0.5}),
    "held": (held, {"approval": ApprovalPolicy()}),
}


async def replays(client: Client, history: WorkflowHistory, name: str) -> None:
    if os.environ.get("RECORD_HISTORIES"):
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(scrubbed(json.loads(history.to_json())), indent=1)
        (FOLDER / f"{name}.json").write_text(f"{text}\n")
    await replayer(client, WORKFLOWS).replay_workflow(history)


@pytest.mark.parametrize("name", PLAYS)
async def test_fresh_histories_replay(
    client: Client, queue: str, worker: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, rules = PLAYS[name]
    dependency = f"payments-{uuid.uuid4().hex[:8]}"
    world = FakeGateways(lambda _: dependency)
    activities = [*world.activities(), offer_probe, release_held, find_held, raise_alert]
    async with worker(queue, workflows=WORKFLOWS, activities=activities):
        state = BreakerState(dependency=dependency, open_seconds=2)
        shared = await client.start_workflow(
            breaker.WORKFLOW_TYPE, state, id=breaker_id(dependency), task_queue=queue
        )
        order = an_order(f"golden-{uuid.uuid4().hex[:8]}", **rules)
        handle = await client.start_workflow(
            WORKFLOW_TYPE, order, id=f"order-{order.order_id}", task_queue=queue
        )
        await act(Play(client, world, dependency, handle))
        await handle.result()
        await replays(client, await handle.fetch_history(), name)
        if act is held:
            await replays(client, await shared.fetch_history(), "breaker")


@pytest.mark.parametrize("name", [*PLAYS, "breaker"])
async def test_golden_histories_replay(client: Client, name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text()
    workflow_id = f"breaker-{name}" if name == "breaker" else f"order-golden-{name}"
    await replayer(client, WORKFLOWS).replay_workflow(WorkflowHistory.from_json(workflow_id, text))
