"""The demo's orders: what there is to see on the first page, each made to end up in one condition.

They go the way of real orders: placed by `place_order`, decided by signals, stopped by faults of the sandbox.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from temporalio.client import Client, WorkflowHandle

from orders.conf import conf
from orders.messages import QUEUE, WORKFLOW_TYPE, OrderInput, OrderLine, Stage, Strategy
from orders.models import Order
from orders.services import place_order, rules_for
from orders.validation import Line, NewOrder
from workers.client.connection import get_client, has_pollers
from workers.client.errors import RunNotFound, TemporalError, rpc_errors
from workers.client.launch import launch
from workers.contracts import Decision, Query, Signal
from workers.registry.registry import registry, workflow_name

TIMEOUT = 30.0  # seconds for the worker, the sandbox and an order that must get somewhere first
PEOPLE = {"operator": ["operator"], "approver": ["approver"], "finance": ["approver", "finance"]}
CUSTOMERS = (
    *(
        "Hanse Logistik GmbH",
        "Atelier Nord",
        "Vega Instruments",
        "Brothers & Lind",
        "Café Zentral",
        "Polar Optics",
    ),
    *("Sato Keramik", "Riverside Clinic", "Studio Mälar", "Ferro Alto", "Kestrel Bikes", "Maison Duval"),
)
ARTICLES = (
    ("SKU-LAMP", 4900),
    ("SKU-DESK", 32900),
    ("SKU-CHAIR", 18900),
    ("SKU-CABLE", 900),
    ("SKU-LENS", 64900),
)
FAULTS = {
    "freight": {"mode": "outage"},
    "carrier": {"mode": "accept_then_timeout", "order_prefix": "demo-slow"},
    "payments": {"mode": "refuse_undo", "order_prefix": "demo-slow-stuck"},
}


Handle = WorkflowHandle[object, object]
Action = Callable[[Handle], Awaitable[None]]


class SeedRefused(Exception):
    """The demo must not, or cannot, be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A kind of order: how many of it, what it is like, and what happens to it.

    `from_minor`: size of the smallest in minor units. `deadlines`: minutes until it expires, in turn.
    """

    kind: str
    count: int
    from_minor: int = 8_000
    strategy: Strategy = Strategy.STANDARD
    customer: str = "customer"
    sku: str = ""
    deadlines: tuple[float, ...] = ()
    action: Action | None = None
    priority: int = 0


def _by(actor: str, signal: Signal, reason: str = "") -> Action:
    async def action(handle: Handle) -> None:
        decision = Decision(
            decision_id=f"demo-{handle.id}-{signal}",
            actor=actor,
            roles=PEOPLE[actor],
            reason=reason,
            at=datetime.now(UTC),
        )
        await handle.signal(signal, decision)

    return action


async def _cancel_when_charged(handle: Handle) -> None:
    async def charged() -> bool:
        return bool((await handle.query(Query.STATUS))["stage"] == Stage.SHIPPING)

    await _until(charged, f"{handle.id} is not shipped")
    await _by("operator", Signal.CANCEL, "Customer withdrew")(handle)


async def _terminate(handle: Handle) -> None:
    await handle.terminate("Duplicate of a phone order; settled by hand")


async def _request_cancellation(handle: Handle) -> None:
    await handle.cancel()


PLOTS = (
    Plot("paid", 10),
    Plot("fast", 4, strategy=Strategy.PREMIUM, priority=5),
    Plot("ask", 6, 150_000, deadlines=(12, 55, 240, 1440, 2880, 4320)),
    Plot(
        "ask-two",
        1,
        1_480_000,
        deadlines=(180,),
        action=_by("finance", Signal.APPROVE, "Credit checked"),
        priority=7,
    ),
    Plot("abroad", 4, 30_000, strategy=Strategy.INTERNATIONAL),
    Plot("declined", 2, customer="declined"),
    Plot("sold-out", 1, sku="SKU-NONE"),
    Plot("rejected", 2, 210_000, action=_by("approver", Signal.REJECT, "Over the customer's credit line")),
    Plot("cancelled", 3, 180_000, action=_by("operator", Signal.CANCEL, "Ordered twice")),
    Plot("withdrawn", 1, 260_000, action=_request_cancellation),
    Plot("expired", 1, 120_000, deadlines=(0.05,)),
    Plot("ended", 1, 190_000, action=_terminate),
    Plot("slow", 2, 12_000),
    Plot("slow-stuck", 1, 42_000, action=_cancel_when_charged),
)


async def _until(condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Wait for a condition; errors of Temporal and of HTTP count as not yet."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with rpc_errors():
                if await condition():
                    return
        except (TemporalError, httpx.HTTPError):
            pass
        if time.monotonic() > deadline:
            raise SeedRefused(f"After {TIMEOUT:.0f} seconds {otherwise}.")
        await asyncio.sleep(0.2)


def _order(plot: Plot, number: int) -> NewOrder:
    """The same contents each time, so that seeding again changes nothing."""
    at = sum(map(ord, plot.kind)) + number * 5
    sku, unit = ARTICLES[at % len(ARTICLES)]
    quantity = max(1, (plot.from_minor + number * 7_700) // unit)
    lines = [
        Line(sku=plot.sku or sku, quantity=quantity, unit_minor=unit),
        Line(sku="SKU-CABLE", quantity=1, unit_minor=900),
    ]
    return NewOrder(
        order_id=f"demo-{plot.kind}-{number}",
        customer_id=f"{plot.customer}-{at % len(CUSTOMERS)}",
        customer_name=CUSTOMERS[at % len(CUSTOMERS)],
        currency=("EUR", "EUR", "CHF", "EUR", "USD")[at % 5],
        lines=lines,
        total_minor=sum(line.quantity * line.unit_minor for line in lines),
        strategy=plot.strategy,
        priority=plot.priority,
    )


async def _refuse_foreign(client: Client) -> None:
    """Never mix the demo with real workflows."""
    registry.load()
    ours = {workflow_name(cls) for queue in registry.queues.values() for cls in queue.workflows}
    query = " AND ".join(f"WorkflowType != '{name}'" for name in sorted(ours))
    with rpc_errors():
        async for other in client.list_workflows(query, page_size=1, limit=1):
            raise SeedRefused(
                f"Namespace {client.namespace} has workflows that are not the demo's: {other.workflow_type}."
            )


async def _ready(client: Client, http: httpx.AsyncClient) -> None:
    async def sandbox() -> bool:
        return (await http.get("/healthz")).is_success

    await _until(sandbox, f"the sandbox does not answer at {conf().sandbox_url}")
    await _until(lambda: has_pollers(client, QUEUE), "no worker polls the orders")


async def _play(client: Client, plot: Plot, number: int) -> bool:
    new = _order(plot, number)
    rules = rules_for(new.total_minor, new.currency)
    if plot.deadlines:
        rules = rules.model_copy(
            update={"approval_seconds": plot.deadlines[number % len(plot.deadlines)] * 60}
        )
    placed = await place_order(new, requester="operator", rules=rules, client=client)
    if placed.created and plot.action:
        handle = client.get_workflow_handle(
            placed.order.workflow_id, first_execution_run_id=placed.order.first_run_id
        )
        try:
            with rpc_errors():
                await plot.action(handle)
        except RunNotFound:
            return placed.created  # it had ended before
    return placed.created


async def _launch_broken(client: Client) -> None:
    """An order that no form would let through: its total is wrong, so its validation fails it."""
    order = OrderInput(
        order_id="demo-broken-0",
        customer_id="customer-0",
        customer_name=CUSTOMERS[0],
        requester="operator",
        lines=[OrderLine(sku="SKU-LAMP", quantity=2, unit_minor=4900)],
        total_minor=1,
    )
    await launch(WORKFLOW_TYPE, order, client=client)


async def seed() -> str:
    """Make what is missing of the demo; says what was done. Raises SeedRefused and TemporalError."""
    expected = {f"demo-{plot.kind}-{number}" for plot in PLOTS for number in range(plot.count)}
    known = {
        order_id
        async for order_id in Order.objects.exclude(first_run_id="").values_list("order_id", flat=True)
    }
    if expected <= known:
        return f"The {len(expected)} demo orders are there already; nothing was changed."
    client = await get_client()
    await _refuse_foreign(client)
    async with httpx.AsyncClient(base_url=conf().sandbox_url, timeout=5, trust_env=False) as http:
        await _ready(client, http)
        for service, fault in FAULTS.items():
            (await http.put(f"/faults/{service}", json=fault)).raise_for_status()
    await _launch_broken(client)
    made: Counter[str] = Counter()
    for plot in PLOTS:
        played = await asyncio.gather(*(_play(client, plot, number) for number in range(plot.count)))
        made[plot.kind] = sum(played)
    kinds = ", ".join(f"{count} {kind}" for kind, count in made.items() if count)
    return (
        f"Placed {made.total()} demo orders ({kinds}) and one broken; freight is switched off in the sandbox."
    )
