"""The same activities as an order, without saga, breaker, approval or attributes: what the SDK costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from orders.messages import EffectResult, OrderInput, StepInput, Validated

BARE, HOUSED, SEALED = "bench-bare", "bench-housed", "bench-sealed"
"""The queues: of the bare SDK, of ours, and of ours with encryption and audit."""
_LIMIT = timedelta(seconds=10)
_RETRY = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_interval=timedelta(seconds=10))


class _Delivery:
    """Validate, reserve, charge, ship, then both notifications side by side."""

    async def deliver(self, order: OrderInput) -> None:
        await workflow.execute_activity(
            "validate_order", order, result_type=Validated, start_to_close_timeout=_LIMIT, retry_policy=_RETRY
        )
        for name in ("reserve_stock", "charge_payment", "book_shipment"):
            await self._effect(name, order)
        await asyncio.gather(*(self._effect(name, order) for name in ("notify_customer", "notify_warehouse")))

    async def _effect(self, name: str, order: OrderInput) -> EffectResult:
        step = StepInput(
            order_id=order.order_id, idempotency_key=f"{workflow.info().workflow_id}/{name}", order=order
        )
        return await workflow.execute_activity(
            name, step, result_type=EffectResult, start_to_close_timeout=_LIMIT, retry_policy=_RETRY
        )


@workflow.defn(name="BareOrder")
class BareOrder(_Delivery):
    @workflow.run
    async def run(self, order: OrderInput) -> None:
        await self.deliver(order)


@workflow.defn(name="HousedOrder")
class HousedOrder(_Delivery):
    @workflow.run
    async def run(self, order: OrderInput) -> None:
        await self.deliver(order)


@workflow.defn(name="SealedOrder")
class SealedOrder(_Delivery):
    @workflow.run
    async def run(self, order: OrderInput) -> None:
        await self.deliver(order)
