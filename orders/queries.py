"""Orders as Temporal lists them, typed: who asks gets rows, and writes no query text.

Lists lag behind by a moment; to read one order exactly, describe its workflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowExecution
from temporalio.common import SearchAttributeKey

from orders.attributes import CUSTOMER_ID, ORDER_AMOUNT, PRIORITY, STRATEGY
from orders.messages import WORKFLOW_TYPE
from workers.client.attributes import SAGA_STATE, STAGE, TENANT_ID, WAITING_FOR
from workers.client.connection import get_client
from workers.client.errors import rpc_errors
from workers.client.visibility import Comparison, both, compare
from workers.conf import conf

MOST = 1000


@dataclass(frozen=True, slots=True)
class OrderRow:
    """`amount` in major units of `currency`, for people and comparisons; `waiting_for` as in the contracts.
    `open`: it is still under way. Text that is not set is empty."""

    workflow_id: str
    run_id: str
    customer_id: str
    customer_name: str
    amount: float
    currency: str
    strategy: str
    priority: int
    stage: str
    saga_state: str
    waiting_for: list[str]
    open: bool
    started_at: datetime


async def find_customer_orders(
    customer_id: str,
    *,
    limit: int = 100,
    open_only: bool = False,
    tenant: str | None = None,
    client: Client | None = None,
) -> list[OrderRow]:
    """The orders of one customer, open ones first, then the newest. `limit`: up to MOST. `tenant`: default
    from the settings. Raises Unusable for an id that no attribute can hold, and TemporalUnavailable."""
    customer = _compare(CUSTOMER_ID, "=", customer_id)
    return await _find([customer], limit, open_only, tenant, client)


async def find_high_value_orders(
    minimum: float,
    *,
    currency: str = "",
    limit: int = 100,
    open_only: bool = True,
    tenant: str | None = None,
    client: Client | None = None,
) -> list[OrderRow]:
    """Orders from `minimum` major units on, of one `currency` or of all (no sums: they do not compare).
    Raises Unusable for what is no number, and TemporalUnavailable."""
    amount = _compare(ORDER_AMOUNT, ">=", f"{minimum}")
    return await _find([amount], limit, open_only, tenant, client, currency)


def _compare(
    key: SearchAttributeKey[str] | SearchAttributeKey[float], operator: str, value: str
) -> Comparison:
    return compare(key.name, operator, value, int(key.indexed_value_type))


async def _find(
    wanted: list[Comparison],
    limit: int,
    open_only: bool,
    tenant: str | None,
    client: Client | None,
    currency: str = "",
) -> list[OrderRow]:
    wanted = [*wanted, _compare(TENANT_ID, "=", tenant or conf().tenant)]
    query = both(
        f"WorkflowType = '{WORKFLOW_TYPE}'",
        "ExecutionStatus = 'Running'" if open_only else "ExecutionStatus != 'ContinuedAsNew'",
        *(comparison.clause for comparison in wanted),
    )
    client, rows, limit = client or await get_client(), list[OrderRow](), max(1, min(limit, MOST))
    with rpc_errors():
        async for run in client.list_workflows(query, page_size=limit):
            row = await _row(run)
            if _exact(run, wanted) and currency in ("", row.currency):
                rows.append(row)
            if len(rows) == limit:
                break
    return rows


def _exact(run: WorkflowExecution, wanted: list[Comparison]) -> bool:
    """The server lets more through where it cannot compare a text with quotes in it."""
    values = {pair.key.name: pair.value for pair in run.typed_search_attributes}
    return all(item.matches(values.get(item.name)) for item in wanted if item.exact)


async def _row(run: WorkflowExecution) -> OrderRow:
    found = run.typed_search_attributes
    return OrderRow(
        workflow_id=run.id,
        run_id=run.run_id,
        customer_id=found.get(CUSTOMER_ID) or "",
        customer_name=await run.memo_value("customer_name", ""),
        amount=found.get(ORDER_AMOUNT) or 0.0,
        currency=await run.memo_value("currency", ""),
        strategy=found.get(STRATEGY) or "",
        priority=found.get(PRIORITY) or 0,
        stage=found.get(STAGE) or "",
        saga_state=found.get(SAGA_STATE) or "",
        waiting_for=list(found.get(WAITING_FOR) or []),
        open=run.close_time is None,
        started_at=run.start_time,
    )
