"""OrderWorkflow: an order from its validation to its parcel, or everything undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orders.activities.effects import (
        book_freight,
        book_shipment,
        cancel_freight,
        cancel_shipment,
        charge_payment,
        notify_customer,
        notify_warehouse,
        refund_payment,
        release_stock,
        reserve_stock,
    )
    from orders.activities.validate import validate_order
    from orders.messages import (
        WORKFLOW_TYPE,
        EffectResult,
        OrderInput,
        OrderResult,
        Refusal,
        Stage,
        StepInput,
        Strategy,
    )
    from orders.workflows.handlers import OrderHandlers
    from workers.contracts import ApprovalState
    from workers.shielding import run_shielded

NOTIFY_ATTEMPTS = 5
_DECLINED = {Refusal.DECLINED, Refusal.OUT_OF_STOCK, Refusal.UNSHIPPABLE}


@dataclass
class _Ending:
    """Why the order does not go on. `error` is raised once all is undone; without one the run completes."""

    stage: Stage
    outcome: str
    error: BaseException | None = None


@workflow.defn(name=WORKFLOW_TYPE)
class OrderWorkflow(OrderHandlers):
    """The steps of an order and their compensation. Signals and queries are in OrderHandlers."""

    @workflow.init
    def __init__(self, order: OrderInput) -> None:
        super().__init__(order)

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        ending = await self._forward()
        if ending is not None:
            return await run_shielded(self._compensate(ending))
        self.saga.complete()
        return await run_shielded(self._close(Stage.DELIVERED, "The order was delivered."))

    async def _forward(self) -> _Ending | None:
        try:
            ending: _Ending | None = await self.saga.run(self._deliver())
            return ending
        except (asyncio.CancelledError, FailureError) as error:
            return self._ending_of(error)

    async def _deliver(self) -> _Ending | None:
        """The steps of an order. None: all were done."""
        self._go(Stage.RECEIVED)
        await self.saga.step(validate_order, lambda key: self._order)
        self._go(Stage.RESERVING)
        await self._effect(reserve_stock, release_stock)
        if not self.approval.decided:
            await self._decision()
        if self.approval.state is ApprovalState.REJECTED:
            return _Ending(Stage.REJECTED, self._rejection())
        if self.approval.state is ApprovalState.EXPIRED:
            return _Ending(Stage.EXPIRED, "It was not decided before the deadline.")
        self._go(Stage.CHARGING)
        await self._effect(charge_payment, refund_payment, amount=self._money)
        self._go(Stage.SHIPPING)
        if self._order.strategy is Strategy.INTERNATIONAL:
            await self._effect(book_freight, cancel_freight, point_of_no_return=True)
        else:
            await self._effect(book_shipment, cancel_shipment, point_of_no_return=True)
        self._go(Stage.NOTIFYING)
        await run_shielded(self._notify())
        return None

    async def _effect(
        self, activity: Callable[[StepInput], EffectResult], undo: Callable[..., Any], **more: Any
    ) -> None:
        result: EffectResult = await self.saga.step(activity, self._step_input, undo=undo, **more)
        self._references[activity.__name__] = result.reference

    async def _decision(self) -> None:
        """Wait for the votes. Signals of the same activation are handled before a timer, so none is lost."""
        seconds = self._order.rules.approval_seconds
        self.approval.open_until(workflow.now() + timedelta(seconds=seconds))
        self._go(Stage.APPROVAL)
        try:
            await workflow.wait_condition(
                lambda: self.approval.decided, timeout=seconds, timeout_summary="the decision is due"
            )
        except TimeoutError:
            self.approval.expire()

    async def _notify(self) -> None:
        await asyncio.gather(*(self._tell(who) for who in (notify_customer, notify_warehouse)))

    async def _tell(self, activity: Callable[[StepInput], EffectResult]) -> None:
        """A notification that fails is shown, but the order was shipped, so it never fails the order."""
        retry = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_attempts=NOTIFY_ATTEMPTS)
        try:
            await self.saga.step(activity, self._step_input, retry_policy=retry)
        except ActivityError as error:
            workflow.logger.warning("%s failed: %s", activity.__name__, error.cause)

    def _ending_of(self, error: BaseException) -> _Ending:
        if is_cancelled_exception(error):
            if self.saga.cancelled_by is not None:
                return _Ending(Stage.CANCELLED, self.saga.cancelled_by)
            return _Ending(Stage.CANCELLED, "Cancellation was requested.", asyncio.CancelledError())
        cause = error.cause if isinstance(error, ActivityError) else error
        if isinstance(cause, ApplicationError) and cause.type in _DECLINED:
            return _Ending(Stage.DECLINED, cause.message)
        message = cause.message if isinstance(cause, FailureError) else str(error)
        kind = cause.type if isinstance(cause, ApplicationError) else None
        return _Ending(self._stage, message, ApplicationError(message, type=kind, non_retryable=True))

    def _rejection(self) -> str:
        vote = self.approval.status().votes[-1]
        actor = vote.actor or "an unnamed actor"
        return f"Rejected by {actor}{f': {vote.reason}' if vote.reason else '.'}"

    async def _compensate(self, ending: _Ending) -> OrderResult:
        self.approval.withdraw()
        await self.saga.compensate(ending.outcome)
        result = await self._close(ending.stage, ending.outcome)
        if ending.error is not None:
            raise ending.error
        return result

    async def _close(self, stage: Stage, outcome: str) -> OrderResult:
        self._outcome = outcome
        self._go(stage)
        await self.finish()
        return OrderResult(outcome=outcome, stage=stage)
